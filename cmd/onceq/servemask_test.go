package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestMaskIsReadAsItIsWritten(t *testing.T) {
	mask, err := maskOf([]string{"/card/number", "mail=/pin", "a/b=c=/x=/y"})
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]string{"other": "/card/number", "mail": "/card/number /pin",
		"a/b=c": "/card/number /x=/y"} {
		if got := strings.Join(mask(kind), " "); got != want {
			t.Errorf("%s: %s, want %s", kind, got, want)
		}
	}
	for _, bad := range []string{"", "/", "pin", "mail=pin", "=/pin"} {
		if _, err := maskOf([]string{bad}); err == nil || !strings.Contains(err.Error(), "JSON Pointer") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	url, _ := serving(t, func(s *httpServer) { s.masks = []string{"mail=/pin"} })
	res, err := http.Post(url+"api/v1/jobs", "application/json", strings.NewReader(`{"kind":"mail","unique":true,
		"args":{"pin":4711}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || strings.Contains(string(text), "4711") ||
		!strings.Contains(string(text), "***") {
		t.Errorf("%s, %v", text, err)
	}
}
