package onceq_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/internal/memstore"
)

// leveled are args whose type has options.
type leveled struct {
	To   *string        `json:"to"`
	CC   *string        `json:"cc"`
	Opts []onceq.Option `json:"-"`
}

func (leveled) Kind() string { return "leveled" }

func (l leveled) EnqueueOptions() []onceq.Option { return l.Opts }

// The four levels of options, the later over the earlier.
const levels = 4

// keyOf is the readable key of an enqueue with options at each level.
func keyOf(t *testing.T, args leveled, at [levels][]onceq.Option, opts ...onceq.Option) (string, error) {
	t.Helper()
	args.Opts = at[1]
	c := clientOf(t, memstore.New(nil), &onceq.Config{Defaults: at[0],
		Kinds: map[string][]onceq.Option{"leveled": at[2]}})
	x, err := c.Explain(t.Context(), args, append(at[3], opts...)...)
	if err != nil {
		return "", err
	}
	return x.Text, nil
}

// at has an option at one level.
func at(level int, o onceq.Option) (all [levels][]onceq.Option) {
	all[level] = []onceq.Option{o}
	return all
}

// and adds an option at another level.
func and(all [levels][]onceq.Option, level int, o onceq.Option) [levels][]onceq.Option {
	all[level] = append(all[level], o)
	return all
}

func TestMetaFieldsMergeOverTheFourLevels(t *testing.T) {
	a, b := "a", "b"
	args := leveled{To: &a, CC: &b}
	meta := onceq.Meta(map[string]any{"tenant": "t1", "trace": "x", "user": "u1"})
	byMeta := onceq.Unique{By: onceq.ByKind | onceq.ByMeta}
	tenant, user := onceq.Unique{MetaFields: []string{"tenant"}}, onceq.Unique{MetaFields: []string{"user"}}
	key := func(all [levels][]onceq.Option) string {
		t.Helper()
		text, err := keyOf(t, args, all, meta)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	whole := key(at(3, byMeta))
	ofTenant := key(at(3, onceq.Unique{By: byMeta.By, MetaFields: []string{"tenant"}}))
	ofUser := key(at(3, onceq.Unique{By: byMeta.By, MetaFields: []string{"user"}}))
	if whole == ofTenant || ofTenant == ofUser {
		t.Fatalf("keys %q, %q, %q", whole, ofTenant, ofUser)
	}
	for one := range levels {
		for two := range levels {
			// What makes up the key may be said at one level and the members at another.
			if got := key(and(at(one, byMeta), two, tenant)); one != two && got != ofTenant {
				t.Errorf("By at level %d, MetaFields at %d: %q", one, two, got)
			}
			if two <= one {
				continue
			}
			if got := key(and(and(at(0, byMeta), one, tenant), two, user)); got != ofUser {
				t.Errorf("tenant at level %d, user at %d: %q, want the later one alone", one, two, got)
			}
			if got := key(and(and(at(0, byMeta), one, tenant), two, onceq.Unique{})); got != ofTenant {
				t.Errorf("MetaFields at level %d, and a Unique without at %d: %q", one, two, got)
			}
			reset := and(and(at(one, onceq.Unique{By: byMeta.By, MetaFields: []string{"tenant"}}),
				two, onceq.ResetUnique), two, byMeta)
			if got := key(reset); got != whole {
				t.Errorf("MetaFields at level %d, ResetUnique at %d: %q", one, two, got)
			}
			own := and(and(at(one, onceq.Unique{By: byMeta.By, MetaFields: []string{"tenant"}}),
				two, onceq.UniqueKey("k")), 3, onceq.Unique{Until: onceq.UntilSucceeded})
			if got, want := key(own), key(at(3, onceq.UniqueKey("k"))); got != want {
				t.Errorf("MetaFields at level %d, UniqueKey at %d: %q, want %q", one, two, got, want)
			}
		}
	}
}

func TestAllowBlankMergesOverTheFourLevels(t *testing.T) {
	blank := onceq.Unique{Fields: []string{"to", "cc"}}
	allowed := func(all [levels][]onceq.Option) bool {
		t.Helper()
		_, err := keyOf(t, leveled{}, all)
		var invalid *onceq.InvalidError
		if err != nil && !errors.As(err, &invalid) {
			t.Fatal(err)
		}
		return err == nil
	}
	allow := onceq.Unique{AllowBlank: true}
	for one := range levels {
		if allowed(at(one, blank)) {
			t.Errorf("fields that are all null are accepted, said at level %d", one)
		}
		for two := range levels {
			if !allowed(and(at(one, blank), two, allow)) {
				t.Errorf("Fields at level %d, AllowBlank at %d: refused", one, two)
			}
			if two <= one {
				continue
			}
			for name, forget := range map[string]onceq.Option{
				"ResetUnique": onceq.ResetUnique, "UniqueKey": onceq.UniqueKey("k"),
			} {
				all := and(at(one, allow), two, forget)
				if name == "UniqueKey" && two < 3 {
					all = and(all, 3, blank) // a later level takes the key back
				} else if name == "ResetUnique" {
					all = and(all, two, blank)
				} else {
					continue
				}
				if allowed(all) {
					t.Errorf("AllowBlank at level %d is not forgotten after %s at %d", one, name, two)
				}
			}
		}
	}
	for _, two := range []onceq.Unique{{}, {Fields: []string{"to"}}, {Until: onceq.UntilSucceeded}} {
		if !allowed(and(and(at(0, blank), 1, allow), 3, two)) {
			t.Errorf("AllowBlank is forgotten after %s", fmt.Sprintf("%+v", two))
		}
	}
}
