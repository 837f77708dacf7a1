package onceq

import (
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
)

// uniqueTag on a field of an args struct, as in `onceq:"unique"`, narrows
// the key to such fields.
const uniqueTag = "unique"

// shape is what the type of args says about their members.
type shape struct {
	unique []string // JSON Pointers of the tagged fields
	err    error    // about a tag that selects nothing, or a field that may be absent

	known  sync.Map // names that knownField took for the type, at most mostKnown
	knownN atomic.Int32
}

// mostKnown bounds what is remembered of a type. Names are written in code, so
// there are few; but a program may make them up.
const mostKnown = 100

var (
	shapes  sync.Map // reflect.Type → *shape
	noShape shape
)

func shapeOf(args Args) *shape {
	if _, raw := args.(rawArgs); raw {
		return &noShape
	}
	t := reflect.TypeOf(args)
	if sh, ok := shapes.Load(t); ok {
		return sh.(*shape)
	}
	sh := &shape{}
	sh.unique, sh.err = taggedIn(t, "", "", nil)
	shapes.Store(t, sh)
	return sh
}

// checkStructTags refuses tags that narrow no key.
func (s *settings) checkStructTags(args Args, sh *shape) error {
	switch {
	case sh.err != nil:
		return sh.err
	case sh.unique == nil || s.customAt != unsaid:
		return nil
	case !s.unique && !s.notUnique:
		return invalidTag(`onceq:"unique"`, "of %T narrows a key, and nothing says that its jobs have one: say "+
			"Unique{} "+
			"in its EnqueueOptions, in the Config or at the call; or NotUnique", args)
	case s.unique && s.by != 0 && s.by&ByArgs == 0:
		return invalidTag(`onceq:"unique"`, "of %T narrows the args, and they take no part: Unique.By is %s "+
			"(said %s); add ByArgs, or drop the tag", args, s.by, s.byAt)
	case s.unique && s.fields == nil && s.narrowsHalf():
		return invalidTag(`onceq:"unique"`, "of %T narrows the args alone, and all of the meta would count, "+
			"since Unique.By is %s (said %s): "+
			"say MetaFields too, or leave ByMeta away", args, s.by, s.byAt)
	}
	return nil
}

// narrowed returns the members of args that are in the key: those that were
// named, checked against the type, or else the tagged ones; nil = all.
func narrowed(args Args, named []string) ([]string, error) {
	if named == nil {
		return shapeOf(args).unique, nil
	}
	if _, raw := args.(rawArgs); raw {
		return named, nil
	}
	sh := shapeOf(args)
	for _, f := range named {
		if _, ok := sh.known.Load(f); ok {
			continue
		}
		if err := knownField(reflect.TypeOf(args), f); err != nil {
			return nil, err
		}
		if sh.knownN.Add(1) <= mostKnown {
			sh.known.Store(f, nil)
		}
	}
	return named, nil
}

// taggedIn returns the pointers of the tagged fields in a type that is
// encoded at a place. absent is why that place may be missing, or "". A
// tagged field takes part as a whole, unless fields inside it are tagged.
func taggedIn(t reflect.Type, at, absent string, within []reflect.Type) ([]string, error) {
	if t.Kind() == reflect.Pointer && at != "" {
		absent = cmp.Or(absent, "the pointer at "+at+" may be nil")
	}
	st := deref(t)
	if slices.Contains(within, st) {
		return nil, nil // the type contains itself: its tags count where it is met first
	}
	why := ""
	switch {
	case encodesItself(t) || encodesItself(st):
		why = fmt.Sprintf("%s encodes itself, so that the names of its members are not known", st)
	case st.Kind() == reflect.Struct:
		return taggedMembers(st, at, absent, append(slices.Clip(within), st))
	case st.Kind() == reflect.Slice || st.Kind() == reflect.Array || st.Kind() == reflect.Map:
		why = fmt.Sprintf("it stands in a %s, where it names no fixed place", st)
	default:
		return nil, nil
	}
	if field := anyTag(st, slices.Clone(within)); field != "" {
		return nil, tagError(field, "selects nothing: %s; name members with Unique.Fields, or use UniqueKey", why)
	}
	return nil, nil
}

func taggedMembers(st reflect.Type, at, absent string, within []reflect.Type) (found []string, err error) {
	members, err := membersOf(st)
	if err != nil {
		return nil, err
	}
	inside := make([][]string, len(members))
	for i, m := range members {
		if inside[i], err = taggedIn(m.typ, at+"/"+token(m.name), cmp.Or(absent, m.absent), within); err != nil {
			return nil, err
		}
		if m.tagged || len(inside[i]) > 0 {
			for e := m.within; e != nil; e = e.within {
				e.narrowed = true
			}
		}
	}
	for i, m := range members {
		switch {
		case len(inside[i]) > 0:
			found = append(found, inside[i]...)
		case m.tagged || m.within.whole():
			if why := cmp.Or(absent, m.absent); why != "" {
				return nil, tagError(m.field, "is of a member that may be absent: %s; drop that, or name members "+
					"with Unique.Fields", why)
			}
			found = append(found, at+"/"+token(m.name))
		}
	}
	return found, nil
}

func tagError(field, rule string, args ...any) error {
	return invalidTag(`onceq:"unique"`, "of field %s "+rule, append([]any{field}, args...)...)
}

// invalidTag is invalid for a struct tag, which only a program can have.
func invalidTag(tag, rule string, args ...any) *InvalidError {
	return invalidOf(marked("tag"), []string{""}, tag, fmt.Sprintf(rule, args...))
}

func token(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }

// anyTag returns a field with an onceq tag anywhere in a type; "" if there
// is none. It skips the types in before.
func anyTag(t reflect.Type, before []reflect.Type) string {
	var visit func(t reflect.Type) string
	visit = func(t reflect.Type) string {
		if slices.Contains(before, t) {
			return ""
		}
		before = append(before, t)
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			return visit(t.Elem())
		case reflect.Struct:
			for i := range t.NumField() {
				f := t.Field(i)
				if _, ok := f.Tag.Lookup("onceq"); ok {
					return t.String() + "." + f.Name
				}
				if field := visit(f.Type); field != "" {
					return field
				}
			}
		}
		return ""
	}
	return visit(t)
}

// member is a member of the JSON object into which a struct is encoded.
type member struct {
	name   string
	field  string // for messages: its type and name in Go
	index  []int  // for Value.FieldByIndexErr
	typ    reflect.Type
	named  bool      // its json tag names it
	tagged bool      // with `onceq:"unique"`
	within *embedded // nil = it is a field of the struct itself
	absent string    // why it may not be there, or ""
}

// embedded is an embedded struct whose fields are members of the outer one.
type embedded struct {
	typ      reflect.Type
	index    []int
	within   *embedded
	field    string // for messages
	tagged   bool
	narrowed bool   // a field inside it is tagged
	absent   string // why its fields may not be there, or ""
}

// has reports whether another embedded struct is this one, or inside it.
func (e *embedded) has(o *embedded) bool { return o != nil && (o == e || e.has(o.within)) }

// whole reports whether all members of an embedded struct count as tagged,
// because the struct is.
func (e *embedded) whole() bool { return e != nil && !e.narrowed && (e.tagged || e.within.whole()) }

// membersOf lists the members that a struct type is encoded with, by the
// rules of encoding/json. It refuses an onceq tag on a field that is not
// encoded.
func membersOf(t reflect.Type) ([]member, error) {
	var all []member
	var embeds []*embedded
	visited := map[reflect.Type]bool{}
	for level := []*embedded{{typ: t}}; len(level) > 0; {
		times := map[reflect.Type]int{}
		for _, e := range level {
			times[e.typ]++
		}
		var next []*embedded
		for _, e := range level {
			if visited[e.typ] {
				continue
			}
			visited[e.typ] = true
			fields, inner, err := fieldsOf(e)
			if err != nil {
				return nil, err
			}
			for range min(times[e.typ], 2) { // twice at the same depth: neither is encoded
				all = append(all, fields...)
			}
			next = append(next, inner...)
		}
		embeds, level = append(embeds, next...), next
	}
	chosen := dominant(all)
	return chosen, nothingSelected(all, chosen, embeds)
}

// nothingSelected refuses tags on fields that are not members of the
// encoded object.
func nothingSelected(all, chosen []member, embeds []*embedded) error {
	for _, m := range all {
		if m.tagged && !slices.ContainsFunc(chosen, func(c member) bool { return slices.Equal(c.index, m.index) }) {
			return tagError(m.field, "selects nothing: another field is encoded as %q in its place; rename one of "+
				"them, or drop the tag", m.name)
		}
	}
	for _, e := range embeds {
		if e.tagged && !slices.ContainsFunc(chosen, func(c member) bool { return e.has(c.within) }) {
			return tagError(e.field, "selects nothing: no field of that struct is encoded; drop the tag")
		}
	}
	return nil
}

// dominant leaves one member for each name: the one that is nested least,
// and of these the one that its json tag names. If there are several of
// those, none is encoded.
func dominant(all []member) (chosen []member) {
	byName := map[string][]member{}
	for _, m := range all {
		byName[m.name] = append(byName[m.name], m)
	}
	rank := func(m member) int {
		if m.named {
			return 2 * len(m.index)
		}
		return 2*len(m.index) + 1
	}
	for _, m := range all {
		same := byName[m.name]
		if same == nil {
			continue // already decided
		}
		byName[m.name] = nil
		slices.SortStableFunc(same, func(a, b member) int { return cmp.Compare(rank(a), rank(b)) })
		if len(same) == 1 || rank(same[0]) < rank(same[1]) {
			chosen = append(chosen, same[0])
		}
	}
	return chosen
}

// fieldsOf lists the fields of one struct: members, and embedded structs
// whose fields are members.
func fieldsOf(e *embedded) (fields []member, inner []*embedded, err error) {
	outer := e
	if e.index == nil {
		outer = nil
	}
	for i := range e.typ.NumField() {
		f := e.typ.Field(i)
		name := e.typ.String() + "." + f.Name
		tagged, err := tagOf(f, name)
		if err != nil {
			return nil, nil, err
		}
		jsonName, opts, isStruct, encoded := jsonField(f)
		if !encoded {
			if tagged {
				return nil, nil, tagError(name, "selects nothing: the field is not encoded as JSON; export it, or "+
					"drop the tag")
			}
			continue
		}
		index := append(slices.Clip(e.index), i)
		if isStruct {
			in := &embedded{typ: deref(f.Type), index: index, within: outer, field: name, tagged: tagged,
				absent: e.absent}
			if f.Type.Kind() == reflect.Pointer {
				in.absent = cmp.Or(in.absent, "the embedded pointer "+name+" may be nil")
			}
			inner = append(inner, in)
			continue
		}
		m := member{name: cmp.Or(jsonName, f.Name), field: name, index: index, typ: f.Type, named: jsonName != "",
			tagged: tagged, within: outer, absent: e.absent}
		for _, opt := range []string{"omitempty", "omitzero"} {
			if slices.Contains(opts, opt) {
				m.absent = cmp.Or(m.absent, name+" is left out when it is zero ("+opt+")")
			}
		}
		fields = append(fields, m)
	}
	return fields, inner, nil
}

// tagOf reads the onceq tag of a field. It refuses misspelt ones.
func tagOf(f reflect.StructField, name string) (tagged bool, err error) {
	if tag, ok := f.Tag.Lookup("onceq"); ok {
		if tag != uniqueTag {
			return false, invalidTag(`onceq:"`+tag+`"`, `of field %s must be onceq:"unique"`, name)
		}
		return true, nil
	}
	// Tag.Lookup ignores what it cannot read.
	for rest := string(f.Tag); rest != ""; {
		key, after, ok := strings.Cut(rest, ":")
		if strings.TrimFunc(key, func(r rune) bool { return !unicode.IsLetter(r) }) == "onceq" {
			return false, invalidTag(string(f.Tag), "of field %s cannot be read: write `onceq:\"unique\"`, with "+
				"one space before the next tag", name)
		}
		quoted, err := strconv.QuotedPrefix(after)
		if !ok || err != nil {
			break
		}
		rest = after[len(quoted):]
	}
	return false, nil
}

// jsonField is the name that encoding/json gives a field: "" = its Go name.
// An embedded struct without a name gives its own fields.
func jsonField(f reflect.StructField) (name string, opts []string, isStruct, encoded bool) {
	tag := f.Tag.Get("json")
	if tag == "-" {
		return "", nil, false, false
	}
	name, rest, _ := strings.Cut(tag, ",")
	if !jsonName(name) {
		name = ""
	}
	st := f.Type
	if st.Name() == "" && st.Kind() == reflect.Pointer {
		st = st.Elem()
	}
	isStruct = f.Anonymous && name == "" && st.Kind() == reflect.Struct
	return name, strings.Split(rest, ","), isStruct, isStruct || f.IsExported() || f.Anonymous &&
		st.Kind() == reflect.Struct
}

// jsonName reports whether encoding/json takes a name from a tag.
func jsonName(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

func deref(t reflect.Type) reflect.Type {
	for range 100 { // a type may point to itself
		if t.Kind() != reflect.Pointer {
			break
		}
		t = t.Elem()
	}
	return t
}

var (
	marshaler     = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// encoderOf reports whether values of exactly this type encode themselves.
func encoderOf(t reflect.Type) bool { return t.Implements(marshaler) || t.Implements(textMarshaler) }

// encodesItself reports whether values of this type encode themselves, at
// least if they are addressable.
func encodesItself(t reflect.Type) bool { return encoderOf(t) || encoderOf(reflect.PointerTo(t)) }

// knownField checks that a type can have the named member. It accepts all
// types that encode themselves, maps and interfaces.
func knownField(t reflect.Type, field string) error {
	tokens := []string{field}
	if strings.HasPrefix(field, "/") {
		tokens = strings.Split(field[1:], "/")
		for i, tok := range tokens {
			tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(tok)
		}
	}
	for _, tok := range tokens {
		if encodesItself(t) || encodesItself(deref(t)) {
			return nil
		}
		switch t = deref(t); t.Kind() {
		case reflect.Struct:
			members, err := membersOf(t)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(members, func(m member) bool { return m.name == tok })
			if i < 0 {
				return invalid("Unique.Fields", field, "is no member of %s: it has %s", t, namesOf(members))
			}
			t = members[i].typ
		case reflect.Map:
			t = t.Elem()
		case reflect.Slice, reflect.Array:
			if _, err := strconv.Atoi(tok); err != nil && tok != "-" {
				return invalid("Unique.Fields", field, "names %q in a list: use an index", tok)
			}
			t = t.Elem()
		case reflect.Interface:
			return nil
		default:
			return invalid("Unique.Fields", field, "goes into a %s, which has no members", t)
		}
	}
	return nil
}

func namesOf(members []member) string {
	if len(members) == 0 {
		return "none"
	}
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = strconv.Quote(m.name)
	}
	return strings.Join(names, ", ")
}
