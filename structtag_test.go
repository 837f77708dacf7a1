package onceq_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/onceq/onceq"
)

type owner struct {
	Login string `json:"login" onceq:"unique"`
	Name  string `json:"name"`
}

type origin struct {
	Host string `json:"host" onceq:"unique"`
}

type tagged struct {
	origin
	Owner  owner              `json:"owner"`
	Commit struct{ A, B int } `json:"commit/sha" onceq:"unique"`
	Note   string             `json:"note"`
}

func (tagged) Kind() string { return "tagged" }

func TestStructTagsNarrowTheKeyNestedAndEmbedded(t *testing.T) {
	a := tagged{origin: origin{"h"}, Owner: owner{"me", "x"}, Note: "one"}
	b := tagged{origin: origin{"h"}, Owner: owner{"me", "y"}, Note: "two"}
	ka, kb := enqueued(t, nil, a, onceq.Unique{}).Claim, enqueued(t, nil, b, onceq.Unique{}).Claim
	if ka.Key != kb.Key {
		t.Errorf("untagged fields take part: %s / %s", ka.Text, kb.Text)
	}
	for name, c := range map[string]tagged{
		"embedded":     {origin: origin{"other"}, Owner: a.Owner},
		"nested":       {origin: a.origin, Owner: owner{Login: "you"}},
		"whole struct": {origin: a.origin, Owner: a.Owner, Commit: struct{ A, B int }{1, 0}},
		"blank":        {origin: a.origin},
	} {
		if enqueued(t, nil, c, onceq.Unique{}).Claim.Key == ka.Key {
			t.Errorf("%s: a tagged field does not take part", name)
		}
	}
}

func TestFieldsSaidAtALevelStandOverTags(t *testing.T) {
	row := enqueued(t, nil, tagged{Note: "n"}, onceq.Unique{Fields: []string{"note"}})
	if !strings.Contains(row.Claim.Text, "note") || strings.Contains(row.Claim.Text, "host") {
		t.Error(row.Claim.Text)
	}
	row = enqueued(t, nil, tagged{Note: "n"}, onceq.UniqueKey("k"))
	if strings.Contains(row.Claim.Text, "host") {
		t.Error(row.Claim.Text)
	}
}

func TestFieldsReachIntoNestedMembersOfATypedStruct(t *testing.T) {
	row := enqueued(t, nil, tagged{Owner: owner{Login: "me"}},
		onceq.Unique{Fields: []string{"/owner/login", "/commit~1sha/A"}})
	if !strings.Contains(row.Claim.Text, "login") {
		t.Error(row.Claim.Text)
	}
	for _, field := range []string{"/owner/email", "owner.login", "/commit~1sha/C", "/note/x"} {
		refused(t, nil, tagged{Owner: owner{Login: "me"}}, onceq.Unique{Fields: []string{field}})
	}
}

type tree struct {
	Name  string `json:"name" onceq:"unique"`
	Child *tree  `json:"child"`
}

func (tree) Kind() string { return "tree" }

func TestATagOfATypeThatContainsItselfCountsWhereItIsMetFirst(t *testing.T) {
	text := enqueued(t, nil, tree{"a", &tree{"b", nil}}, onceq.Unique{}).Claim.Text
	if strings.Contains(text, "child") || !strings.Contains(text, "/name") {
		t.Error(text)
	}
}

// Embedded structs that are tagged take part with all their fields, or with
// those that are tagged inside.
type (
	deepest struct {
		A int `json:"a"`
	}
	deeper struct {
		deepest
		B int `json:"b"`
	}
	inWhole struct {
		deeper `onceq:"unique"`
		C      int `json:"c"`
	}
	someTagged struct {
		D int `json:"d" onceq:"unique"`
		E int `json:"e"`
	}
	inPart struct {
		someTagged `onceq:"unique"`
		F          int `json:"f"`
	}
	shadows struct { // json names B of the outer struct
		deeper
		B int `json:"b" onceq:"unique"`
	}
)

func (inWhole) Kind() string { return "in whole" }
func (inPart) Kind() string  { return "in part" }
func (shadows) Kind() string { return "shadows" }

func TestATaggedEmbeddedStructIsWholeUnlessAFieldInsideIsTagged(t *testing.T) {
	for _, c := range []struct {
		args onceq.Args
		want string
	}{{inWhole{}, "fields /a=0 /b=0"}, {inPart{}, "fields /d=0"}, {shadows{}, "fields /b=0"}} {
		if text := enqueued(t, nil, c.args, onceq.Unique{}).Claim.Text; !strings.HasSuffix(text, c.want) {
			t.Errorf("%T: %s, want %s", c.args, text, c.want)
		}
	}
	for _, field := range []string{"a", "b", "c"} {
		enqueued(t, nil, inWhole{}, onceq.Unique{Fields: []string{field}})
	}
}

// Types with tags that select nothing, each for another reason.
type (
	hidden struct {
		id int `onceq:"unique"`
	}
	leftOut struct {
		ID int `json:"-" onceq:"unique"`
	}
	misspelt struct {
		ID int `onceq:"uniq"`
	}
	selfEncoded struct {
		ID int `onceq:"unique"`
	}
	encodedInside struct {
		In selfEncoded `json:"in"`
	}
	promoted struct {
		selfEncoded
		ID2 int `onceq:"unique"`
	}
	ofPointer struct {
		ID int `onceq:"unique"`
	}
	inSlice struct {
		Items []owner `json:"items"`
	}
	inArray struct {
		Items [2]*owner `json:"items"`
	}
	inMap struct {
		Items map[string][]owner `json:"items"`
	}
	hidesInner struct {
		origin
		Host string `json:"host"`
	}
	left      struct{ origin }
	right     struct{ origin }
	ambiguous struct {
		left
		right
	}
	//lint:ignore U1000 it is there to be met by reflection
	noFields       struct{}
	emptyEmbedding struct {
		noFields `onceq:"unique"` //lint:ignore U1000 it is there to be met by reflection
		ID       int
	}
	embedsHidden struct {
		other `onceq:"unique"`
		Host  string `json:"host"`
	}
	other struct {
		Host string `json:"host"`
	}
	// and with tags on members that may be absent
	mayBeEmpty struct {
		ID int `json:"id,omitempty" onceq:"unique"`
	}
	mayBeZero struct {
		ID int `json:"id,omitzero" onceq:"unique"`
	}
	underPointer struct {
		Owner *owner `json:"owner"`
	}
	underOmitted struct {
		Owner owner `json:"owner,omitempty"`
	}
	underEmbeddedPointer struct {
		*other2
		Name string
	}
	other2 struct {
		ID int `json:"id" onceq:"unique"`
	}
	wholeOmitted struct {
		omits `onceq:"unique"`
		ID    int
	}
	omits struct {
		A int `json:"a"`
		B int `json:"b,omitempty"`
	}
	deepPointer struct {
		In struct {
			Owner **owner
		}
	}
)

func (hidden) Kind() string                        { return "k" }
func (leftOut) Kind() string                       { return "k" }
func (misspelt) Kind() string                      { return "k" }
func (selfEncoded) Kind() string                   { return "k" }
func (s selfEncoded) MarshalJSON() ([]byte, error) { return json.Marshal(map[string]int{"id": s.ID}) }
func (encodedInside) Kind() string                 { return "k" }
func (promoted) Kind() string                      { return "k" }
func (ofPointer) Kind() string                     { return "k" }
func (*ofPointer) MarshalText() ([]byte, error)    { return []byte("x"), nil }
func (inSlice) Kind() string                       { return "k" }
func (inArray) Kind() string                       { return "k" }
func (inMap) Kind() string                         { return "k" }
func (hidesInner) Kind() string                    { return "k" }
func (ambiguous) Kind() string                     { return "k" }
func (emptyEmbedding) Kind() string                { return "k" }
func (embedsHidden) Kind() string                  { return "k" }
func (mayBeEmpty) Kind() string                    { return "k" }
func (mayBeZero) Kind() string                     { return "k" }
func (underPointer) Kind() string                  { return "k" }
func (underOmitted) Kind() string                  { return "k" }
func (underEmbeddedPointer) Kind() string          { return "k" }
func (wholeOmitted) Kind() string                  { return "k" }
func (deepPointer) Kind() string                   { return "k" }

func TestATagThatSelectsNothingIsRefusedAtTheFirstUseOfTheType(t *testing.T) {
	_ = hidden{}.id
	for _, args := range []onceq.Args{
		hidden{}, leftOut{}, misspelt{}, selfEncoded{}, &selfEncoded{}, encodedInside{}, promoted{},
		ofPointer{}, &ofPointer{},
		inSlice{}, inArray{}, inMap{}, hidesInner{}, ambiguous{}, emptyEmbedding{}, embedsHidden{},
	} {
		for _, opts := range [][]onceq.Option{{onceq.Unique{}}, {onceq.NotUnique}, nil} {
			if err := refused(t, nil, args, opts...); err.Field != "tag" ||
				!strings.Contains(err.Rule, "field onceq_test.") {
				t.Errorf("%T: %v", args, err)
			}
		}
	}
}

func TestATagThatCannotBeReadIsRefused(t *testing.T) {
	for _, tag := range []string{`onceq:unique`, `onceq: "unique"`, `json:"id" onceq:'unique'`,
		`json:"id",onceq:"unique"`, `json:"id" onceq: "unique"`, `json:"id";onceq:"unique"`, `onceq:"Unique"`,
		`onceq:""`, `onceq`} {
		if err := onceq.TagOf(tag); err == nil {
			t.Errorf("`%s` is taken", tag)
		}
	}
	for _, tag := range []string{``, `json:"onceq"`, `json:"id" onceq:"unique"`, `json:"onceq:unique" onceq:"unique"`,
		`doc:"see onceq: it's"`, `my_onceq:"x"`} {
		if err := onceq.TagOf(tag); err != nil {
			t.Errorf("`%s`: %v", tag, err)
		}
	}
}

func TestATagOnAMemberThatMayBeAbsentIsRefusedWhateverTheValue(t *testing.T) {
	me := &owner{Login: "me"}
	for _, args := range []onceq.Args{
		mayBeEmpty{1}, mayBeZero{1}, underPointer{me}, underOmitted{*me}, underEmbeddedPointer{other2: &other2{1}},
		wholeOmitted{omits: omits{1, 2}},
		deepPointer{In: struct{ Owner **owner }{&me}},
	} {
		if err := refused(t, nil, args, onceq.Unique{}); err.Field != "tag" ||
			!strings.Contains(err.Rule, "may be absent") {
			t.Errorf("%T: %v", args, err)
		}
	}
	enqueued(t, nil, mayBeNull{}, onceq.Unique{AllowBlank: true}) // it is null, not absent
}

type mayBeNull struct {
	ID *int `json:"id" onceq:"unique"`
}

func (mayBeNull) Kind() string { return "null" }

type withOptions struct {
	ID int `json:"id" onceq:"unique"`
}

func (withOptions) Kind() string                   { return "with options" }
func (withOptions) EnqueueOptions() []onceq.Option { return []onceq.Option{onceq.Unique{}} }

func TestATagWithoutAWordAboutUniquenessIsRefused(t *testing.T) {
	args := tree{Name: "a"}
	for name, opts := range map[string][]onceq.Option{"nothing": nil,
		"others": {onceq.Priority(1), onceq.Delay(time.Hour)}, "reset": {onceq.ResetUnique}} {
		if err := refused(t, nil, args, opts...); err.Field != "tag" || !strings.Contains(err.Rule, "NotUnique") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, opts := range map[string][]onceq.Option{
		"Unique": {onceq.Unique{}}, "UniqueKey": {onceq.UniqueKey("k")}, "NotUnique": {onceq.NotUnique},
		"reset and said": {onceq.ResetUnique, onceq.Unique{}},
	} {
		if row := enqueued(t, nil, args, opts...); (row.Claim == nil) != (name == "NotUnique") {
			t.Errorf("%s: %+v", name, row.Claim)
		}
	}
	enqueued(t, &onceq.Config{Defaults: []onceq.Option{onceq.Unique{}}}, args)
	enqueued(t, &onceq.Config{Kinds: map[string][]onceq.Option{"tree": {onceq.NotUnique}}}, args)
	enqueued(t, nil, withOptions{1})
	if err := refused(t, nil, args, onceq.Unique{By: onceq.ByKind | onceq.ByQueue}); !strings.Contains(err.Rule,
		"ByArgs") {
		t.Errorf("args take no part: %v", err)
	}
	if err := refused(t, nil, withOptions{1}, onceq.ResetUnique); err.Field != "tag" {
		t.Errorf("%v", err)
	}
}
