package pgstore

import "testing"

func TestAPayloadSaysWhatItWasMadeOf(t *testing.T) {
	for _, r := range []reason{
		{work: work{"mail", ""}},
		{work: work{"mail", "welcome"}},
		{work: work{"my queue!", "a kind / of its own"}},
		{worker: "host-1-abc"},
	} {
		if from, got := readPayload(r.payload("s3nder")); from != "s3nder" || got != r {
			t.Errorf("%+v came back from %q as %+v", r, from, got)
		}
	}
}
