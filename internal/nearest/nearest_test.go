package nearest

import "testing"

func TestTheNearestNameIsWhatWasMeant(t *testing.T) {
	names := []string{"enqueue", "explain", "work", "jobs", "job", "keys", "key", "queues", "queue", "doctor"}
	for word, want := range map[string]string{"enque": "enqueue", "enqeue": "enqueue", "dcotor": "doctor",
		"wrok": "work", "jbos": "jobs", "frobnicate": "", "docter": "doctor"} {
		if got := Name(word, names); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
