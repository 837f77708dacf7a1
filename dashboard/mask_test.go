package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/onceq/onceq"
)

// theSecret is the value of masked members of these tests, with what is escaped
// in one text or another.
const theSecret = `s3cr3t "é/`

func secretForms() []string {
	quoted, _ := json.Marshal(theSecret)
	return []string{"s3cr3t", string(quoted[1 : len(quoted)-1]), "9876543"}
}

func maskMail(kind string) []string {
	if kind == "mail" || kind == "gone" {
		return []string{"/card/number", "pin", "/list/1", "/odd~1name"}
	}
	return nil
}

// TestMaskedMembersAreShownNowhere puts a secret in every place where a member
// can come to, and then reads every page and every call as an operator.
func TestMaskedMembersAreShownNowhere(t *testing.T) {
	w := serve(t, func(c *Config) { c.Mask = maskMail })
	quoted, _ := json.Marshal(theSecret)
	args := fmt.Sprintf(`{"to":"shown","pin":%s,"card":{"number":9876543,"type":"visa"},"list":[1,%[1]s],`+
		`"odd/name":%[1]s}`, quoted)
	bodies := map[string]string{}
	silent := func(what string, a answer) answer {
		t.Helper()
		for _, form := range secretForms() {
			if i := strings.Index(a.body+fmt.Sprint(a.header), form); i >= 0 {
				t.Errorf("%s: …%.150s", what, (a.body + fmt.Sprint(a.header))[max(0, i-100):])
			}
		}
		bodies[what] = a.body
		return a
	}
	do := func(method, path, body string, status int) answer {
		t.Helper()
		return silent(method+" "+path, w.is(w.ask(method, path, body), status))
	}
	job := func(id, kind, more string) string {
		return fmt.Sprintf(`{"id":%q,"kind":%q,"args":%s,"meta":{"pin":%s,"m":"shown"},"unique":true%s}`, id, kind,
			args, quoted, more)
	}
	do("POST", "jobs", job("whole", "mail", ""), http.StatusCreated)
	do("POST", "jobs", job("fields", "mail", `,"fields":["to","/pin","/card","/card/number","/none"]`),
		http.StatusCreated)
	do("POST", "jobs", job("own", "mail", `,"unique_key":"pin `+strings.ReplaceAll(theSecret, `"`, `\"`)+`"`),
		http.StatusCreated)
	do("POST", "jobs", job("meta", "mail", `,"by":["meta"],"max_attempts":1`), http.StatusCreated)
	do("POST", "jobs", fmt.Sprintf(`{"id":"cut","kind":"mail","unique":true,"args":{"a":%q,"pin":%s,
		"card":{"number":9876543}}}`, strings.Repeat("a", 950), quoted), http.StatusCreated)
	do("POST", "jobs", job("gone", "gone", `,"until":"deleted","window":"1h","retention":"0s"`), http.StatusCreated)
	dup := job("dup", "mail", "")
	do("POST", "jobs", dup, http.StatusOK)
	silent("409", w.problem(w.ask("POST", "jobs", job("dup", "mail", `,"on_conflict":"reject"`)), "duplicate",
		"held by"))
	do("POST", "jobs/batch", `{"jobs":[`+dup+`,`+job("whole", "mail", "")+`]}`, http.StatusOK)
	do("POST", "explain", dup, http.StatusOK)
	do("POST", "explain", `{"job":`+dup+`,"other":`+job("o", "mail", `,"fields":["pin"]`)+`}`, http.StatusOK)
	imported := w.request("POST", "jobs/import?answers=all", dup+"\n"+job("im", "mail", `,"window":"x"`))
	imported.Header.Set("Content-Type", "application/x-ndjson")
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, imported)
	silent("import", answer{status: rec.Code, body: rec.Body.String()})

	// A worker gets the args, and its errors have the values in several spellings.
	me := w.join("py")
	a := w.is(w.ask("POST", "fetch", fmt.Sprintf(`{"worker":%q,"no":1,"queues":{"default":10},
		"kinds":["mail","gone"]}`, me)), http.StatusOK)
	a.must(t, "s3cr3t")
	for _, j := range a.json["jobs"].([]any) {
		id := j.(map[string]any)["id"].(string)
		said, _ := json.Marshal(fmt.Sprintf("cannot send %s or %q or %s to card 9876543: shown", theSecret, theSecret,
			url.QueryEscape(theSecret)))
		outcome := "failed"
		if id == "gone" || id == "whole" {
			outcome = "completed"
		}
		do("POST", "jobs/"+id+"/finish", fmt.Sprintf(`{"worker":%q,"run":1,"outcome":%q,"error":%s,"stack":%[3]s,`+
			`"result":{"pin":%s,"n":1}}`, me, outcome, said, quoted), http.StatusOK)
	}
	do("POST", "jobs/fields/cancel", "", http.StatusOK)
	silent("retry", w.ask("POST", "jobs/fields/retry", ""))
	do("POST", "jobs", job("whole2", "mail", ""), http.StatusCreated) // takes the key of whole
	silent("retry of whole", w.problem(w.ask("POST", "jobs/whole/retry", ""), "duplicate", "whole2"))
	do("POST", "jobs/retry", `{"filter":{"kind":"mail"}}`, http.StatusOK)
	w.client.Close() // notes what it has tallied
	reopened, err := onceq.NewClient(w.store, &onceq.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reopened.Close() })
	w.Dashboard.client.Client = reopened

	for _, path := range []string{"jobs?include=args,meta,errors,result", "jobs?include=errors", "jobs", "keys",
		"conflicts", "policies", "stats", "keys?text=shown", "keys?text=s3cr3t", "keys?text=9876543", "doctor"} {
		do("GET", path, "", http.StatusOK)
	}
	for _, text := range []string{"s3cr3t", "9876543"} { // nor does a search tell
		if a := do("GET", "keys?kind=mail&text="+text, "", http.StatusOK); len(a.json["keys"].([]any)) > 0 {
			t.Error(a.body)
		}
	}
	pages := []string{"/", "/jobs", "/jobs?kind=mail", "/keys", "/keys?text=shown", "/conflicts", "/policies",
		"/queues", "/workers", "/system", "/periodic", "/explain", "/find?q=whole"}
	for _, id := range []string{"whole", "whole2", "fields", "own", "meta", "cut", "gone"} {
		a := w.ask("GET", "jobs/"+id, "")
		if silent("job "+id, a); a.status == http.StatusOK {
			pages = append(pages, "/jobs/"+id, "/keys/"+a.at("key").(string))
			do("GET", "keys/"+a.at("key").(string), "", http.StatusOK)
		}
	}
	for _, page := range pages {
		if a := w.ask("GET", page, ""); a.status != http.StatusOK && a.status != http.StatusSeeOther &&
			a.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", page, a.status, a.body)
		} else {
			silent(page, a)
		}
	}
	for what, parts := range map[string][]string{ // what is not masked is there
		"job whole": {`"to":"shown"`, `"type":"visa"`, `"n":1`, `"m":"shown"`, `"number":"***"`},
		"job fields": {`/to=\"shown\"`, `/pin=\"***\"`, `/none=absent`,
			"cannot send *** or", "card ***: shown"},
		"job own":                      {`key=***`},
		"POST jobs/meta/finish":        {"discarded"},
		"keys?text=shown":              nil,
		"GET keys?text=shown":          {`args={`},
		"GET jobs?include=errors":      {"cannot send ***"},
		"409":                          {"is held by"},
		"GET conflicts":                {"hot"},
		"GET keys?kind=mail&text=none": nil,
	} {
		for _, part := range parts {
			if !strings.Contains(bodies[what], part) {
				t.Errorf("%s has no %s: %s", what, part, bodies[what])
			}
		}
	}
	w.is(w.ask("POST", "jobs", job("other", "other", "")), http.StatusCreated).must(t, "s3cr3t")
	w.is(w.ask("GET", "jobs?include=args&kind=other", ""), http.StatusOK).must(t, "s3cr3t") // it is not masked
	for _, form := range secretForms() {
		for line := range strings.Lines(w.log.String()) {
			ofTheClient := strings.Contains(line, `msg="onceq: duplicate"`) // which is the caller's
			if strings.Contains(line, form) && !ofTheClient {
				t.Error(line)
			}
		}
	}
}

// must wants a text in an answer.
func (a answer) must(t *testing.T, text string) answer {
	t.Helper()
	if !strings.Contains(a.body, text) {
		t.Errorf("no %q: %s", text, a.body)
	}
	return a
}

// TestReadableKeysAreMasked has texts as internal/fingerprint writes them.
func TestReadableKeysAreMasked(t *testing.T) {
	pointers := []string{"/pin", "/card/number", "/list/0", "/a b"}
	for text, want := range map[string]string{
		`kind=mail queue=default`:                             `kind=mail queue=default`,
		`kind="a b=" args={"pin":1,"to":2} meta={"x":"y"}`:    `kind="a b=" args={"pin":"***","to":2} meta={"x":"y"}`,
		`kind=mail fields /card={"number":1.50,"x":1} /to=7`:  `kind=mail fields /card={"number":"***","x":1} /to=7`,
		`kind=mail fields /card/number/deep="x" /pin=absent`:  `kind=mail fields /card/number/deep="***" /pin=absent`,
		`fields "/a b"="c d" /pins=1 meta fields /pin="x =y"`: `fields "/a b"="***" /pins=1 meta fields /pin="***"`,
		`fields /list=[1,2] /list/0=3 /list/00=4`:             `fields /list=["***",2] /list/0="***" /list/00=4`,
		`kind=mail key="welcome 42" args=[1]`:                 `kind=mail key=*** args=[1]`,
		`kind=mail args={"pin":"secr…`:                        `kind=mail ***`,
		`kind=mail fields /to=1 /pin="secr…`:                  `kind=mail ***`,
		`kind=mail args=bytes(3)"pin"`:                        `kind=mail ***`,
		`something else`:                                      `***`,
		`kind=mail meta={"pin":"args={}"}`:                    `kind=mail meta={"pin":"***"}`,
		`sha256:00`:                                           `sha256:00`,
		`args=12345678901234567890.123`:                       `args=12345678901234567890.123`,
	} {
		if got := maskedKey(text, pointers); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
	if got := maskedKey(`kind=k args={"a":1}`, []string{""}); got != `kind=k args="***"` {
		t.Error(got)
	}
}

// TestEveryKeyTextOfAKindIsMasked looks for a text that still has the value.
func TestEveryKeyTextOfAKindIsMasked(t *testing.T) {
	w := serve(t, func(c *Config) { c.Mask = func(string) []string { return []string{"/pin", "/deep/pin"} } })
	values := []string{`"s3cr3t"`, `"s3cr3t\n\u0000 \" \\ = é"`, `{"s3cr3t":"s3cr3t"}`, `["s3cr3t",{"a":"s3cr3t"}]`,
		`"` + strings.Repeat("s3cr3t", 300) + `"`, `"s3cr3t` + strings.Repeat("é", 600) + `"`}
	for _, v := range values {
		for _, more := range []string{``, `,"fields":["pin"]`, `,"fields":["deep","a b","pin"]`,
			`,"fields":["/deep/pin"]`, `,"by":["meta"]`, `,"by":["kind","args","meta"],"meta_fields":["pin"]`,
			`,"by":["args"]`, `,"unique_key":"s3cr3t"`} {
			for _, pad := range []int{0, 900, 1000, 1010, 2000} {
				body := fmt.Sprintf(`{"kind":"mail","args":{"a b":%q,"deep":{"pin":%s,"x":1},"pin":%[2]s,"z":"shown"},
					"meta":{"pin":%[2]s},"unique":true%s}`, strings.Repeat("p", pad), v, more)
				if a := w.ask("POST", "explain", body); strings.Contains(a.body, "s3cr3t") {
					t.Errorf("%.60s… %s: %s", body, more, a.body)
				}
			}
		}
	}
}

// TestWhatClientsShowIsMasked looks for methods of a client that return jobs or
// keys, and that nobody masks.
func TestWhatClientsShowIsMasked(t *testing.T) {
	own, calls := map[string]bool{}, map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), name, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && name == "mask.go" {
				if star, ok := f.Recv.List[0].Type.(*ast.StarExpr); ok && fmt.Sprint(star.X) == "maskingClient" {
					own[f.Name.Name] = true
				}
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && !strings.HasSuffix(name, "_test.go") {
				if inner, ok := s.X.(*ast.SelectorExpr); ok && inner.Sel.Name == "client" {
					calls[s.Sel.Name] = true
				}
			}
			return true
		})
	}
	typ, checked := reflect.TypeFor[*onceq.Client](), 0
	for i := range typ.NumMethod() {
		m := typ.Method(i)
		if shows(m.Type, map[reflect.Type]bool{}) && m.Name != "Prepare" { // that is the caller's own
			if checked++; calls[m.Name] && !own[m.Name] {
				t.Errorf("what Client.%s returns is not masked: write it in mask.go", m.Name)
			}
		}
	}
	if checked < 15 || !own["Job"] || !calls["Job"] {
		t.Errorf("%d methods: the test sees nothing", checked)
	}
}

// shows reports whether a type, or the results of a method, can have a job or a
// readable key.
func shows(typ reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[typ] {
		return false
	}
	seen[typ] = true
	switch typ {
	case reflect.TypeFor[onceq.JobRow](), reflect.TypeFor[onceq.HeldKey](), reflect.TypeFor[onceq.Conflict](),
		reflect.TypeFor[onceq.Violation](), reflect.TypeFor[onceq.HotKey](), reflect.TypeFor[onceq.NewRow]():
		return true
	}
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return shows(typ.Elem(), seen)
	case reflect.Struct:
		for i := range typ.NumField() {
			if typ.Field(i).IsExported() && shows(typ.Field(i).Type, seen) {
				return true
			}
		}
	case reflect.Func:
		for i := range typ.NumOut() {
			if shows(typ.Out(i), seen) {
				return true
			}
		}
		for i := range typ.NumIn() {
			if in := typ.In(i); in.Kind() == reflect.Func && shows(in, seen) || in == reflect.TypeFor[onceq.Bulk]() {
				return true
			}
			if in := typ.In(i); typ.In(i).Kind() == reflect.Func {
				for k := range in.NumIn() {
					if shows(in.In(k), seen) {
						return true
					}
				}
			}
		}
	}
	return false
}

// rowless is a store without the rows of its jobs.
type rowless struct{ onceq.Store }

func (rowless) Get(_ context.Context, ids []string) ([]*onceq.JobRow, error) {
	return make([]*onceq.JobRow, len(ids)), nil
}

func TestMaskedMembersOfViolationsAndSchedulesAreNotShown(t *testing.T) {
	w := serve(t, func(c *Config) { c.Mask = maskMail })
	args := onceq.JSON("mail", []byte(`{"pin":"s3cr3t"}`))
	if _, err := w.client.Enqueue(t.Context(), args, onceq.Unique{}); err != nil {
		t.Fatal(err)
	}
	broken, err := onceq.NewClient(rowless{w.store}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	report, err := (&maskingClient{broken, maskMail}).Doctor(t.Context(), nil)
	if err != nil || len(report.Violations) == 0 || !strings.Contains(report.Violations[0].KeyText, `"pin":"***"`) {
		t.Errorf("%+v, %v", report, err)
	}
	masking := w.Dashboard.client
	schedule := onceq.Periodic{Name: "p", Schedule: "@daily", Args: args}
	if _, err := masking.PutPeriodic(t.Context(), schedule); err != nil {
		t.Fatal(err)
	}
	if r, err := masking.TickNow(t.Context(), "p"); err != nil || strings.Contains(string(r.Job.Args), "s3cr3t") {
		t.Errorf("%+v, %v", r, err)
	}
}
