package onceq_test

import (
	"strings"
	"testing"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

func TestExplainHintsAtIdentifiersThatAreMadeAnewEachTime(t *testing.T) {
	c := clientOf(t, memstore.New(nil), nil)
	hints := func(opts ...onceq.Option) string {
		t.Helper()
		e, err := c.Explain(t.Context(), mail{"a"}, opts...)
		if err != nil {
			t.Fatal(err)
		}
		return e.Hint
	}
	for id, want := range map[string]string{
		"9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d":          "version 4",
		"9B1DEB4D-3B7D-4BAD-9BDD-2B0D7B3DCB6D":          "version 4",
		"9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d":              "version 4",
		"{9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d}":        "version 4",
		"urn:uuid:9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d": "version 4",
		"order_9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d":    "version 4",
		"c232ab00-9414-11ec-b3c8-9f6bdeced846":          "version 1",
		"c232ab00941411ecb3c89f6bdeced846":              "version 1",
		"1ec9414c-232a-6b00-b3c8-9f6bdeced846":          "version 6",
		"1ec9414c232a6b00b3c89f6bdeced846":              "version 6",
		"017f22e2-79b0-7cc3-98c4-dc0c0c07398f":          "version 7",
		"017F22E279B07CC398C4DC0C0C07398F":              "version 7",
		"320c3d4d-cc00-875b-8ec9-32d5f69181c0":          "version 8",
		"01ARZ3NDEKTSV4RRFFQ69G5FAV":                    "ULID",
		"01arz3ndektsv4rrffq69g5fav":                    "ULID",
		"evt_01HZX4J2T9Y6M3Q8W5R7K1N0PB":                "ULID",

		"welcome:42":                               "",
		"2ed6657d-e927-568b-95e1-2665a8aea6a2":     "", // version 5: of a name
		"3d813cbb-47fb-32ba-91df-831e1593ac29":     "", // version 3
		"d41d8cd98f00b204e9800998ecf8427e":         "", // MD5 of nothing
		"2ABCDEFGHJKMNPQRSTVWXYZ012":               "", // no time
		"7ZZZZZZZZZZZZZZZZZZZZZZZZZ":               "",
		"da39a3ee5e6b4b0d3255bfef95601890afd80709": "", // SHA-1
	} {
		for what, hint := range map[string]string{"key": hints(onceq.UniqueKey(id)), "ID": hints(onceq.ID(id))} {
			if want == "" && hint != "" || want != "" && (!strings.Contains(hint, want) ||
				!strings.Contains(hint, what)) {
				t.Errorf("%s %s: %q, want it to name %q", what, id, hint, want)
			}
		}
	}
	if hint := hints(onceq.Unique{}); hint != "" {
		t.Errorf("of an ID of the client's own: %q", hint)
	}
}
