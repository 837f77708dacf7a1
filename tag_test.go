package onceq_test

import (
	"encoding/json"
	"strings"
	"testing"

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
	Owner  *owner             `json:"owner"`
	Commit struct{ A, B int } `json:"commit/sha" onceq:"unique"`
	Note   string             `json:"note"`
}

func (tagged) Kind() string { return "tagged" }

func TestStructTagsNarrowTheKeyNestedAndEmbedded(t *testing.T) {
	a := tagged{origin: origin{"h"}, Owner: &owner{"me", "x"}, Note: "one"}
	b := tagged{origin: origin{"h"}, Owner: &owner{"me", "y"}, Note: "two"}
	ka, kb := enqueued(t, nil, a, onceq.Unique{}).Claim, enqueued(t, nil, b, onceq.Unique{}).Claim
	if ka.Key != kb.Key {
		t.Errorf("untagged fields take part: %s / %s", ka.Text, kb.Text)
	}
	for name, c := range map[string]tagged{
		"embedded":     {origin: origin{"other"}, Owner: a.Owner},
		"nested":       {origin: a.origin, Owner: &owner{Login: "you"}},
		"whole struct": {origin: a.origin, Owner: a.Owner, Commit: struct{ A, B int }{1, 0}},
		"absent":       {origin: a.origin},
	} {
		if enqueued(t, nil, c, onceq.Unique{}).Claim.Key == ka.Key {
			t.Errorf("%s: a tagged field does not take part", name)
		}
	}
	if enqueued(t, nil, a).Claim != nil {
		t.Error("a tag switched uniqueness on")
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
	row := enqueued(t, nil, tagged{Owner: &owner{Login: "me"}}, onceq.Unique{Fields: []string{"/owner/login", "/commit~1sha/A"}})
	if !strings.Contains(row.Claim.Text, "login") {
		t.Error(row.Claim.Text)
	}
	for _, field := range []string{"/owner/email", "owner.login", "/commit~1sha/C", "/note/x"} {
		refused(t, nil, tagged{Owner: &owner{Login: "me"}}, onceq.Unique{Fields: []string{field}})
	}
}

type hidden struct {
	id int `onceq:"unique"`
}

func (hidden) Kind() string { return "hidden" }

type misspelt struct {
	ID int `onceq:"uniq"`
}

func (misspelt) Kind() string { return "misspelt" }

type selfEncoded struct {
	ID int `onceq:"unique"`
}

func (selfEncoded) Kind() string                   { return "self" }
func (s selfEncoded) MarshalJSON() ([]byte, error) { return json.Marshal(map[string]int{"id": s.ID}) }

type tree struct {
	Name  string `json:"name" onceq:"unique"`
	Child *tree  `json:"child"`
}

func (tree) Kind() string { return "tree" }

func TestATagThatSelectsNothingIsAnErrorAtFirstUse(t *testing.T) {
	_ = hidden{}.id
	for _, args := range []onceq.Args{hidden{}, misspelt{}} {
		if err := refused(t, nil, args, onceq.Unique{}); err.Field != "tag" || !strings.Contains(err.Rule, "field onceq_test.") {
			t.Errorf("%v", err)
		}
	}
	enqueued(t, nil, selfEncoded{1}, onceq.Unique{}) // it encodes itself: its tags are not known to name members
	if text := enqueued(t, nil, tree{"a", &tree{"b", nil}}, onceq.Unique{}).Claim.Text; strings.Contains(text, "child") {
		t.Errorf("a type that contains itself: %s", text)
	}
}
