package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	console "github.com/chromedp/cdproto/log"
	traffic "github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// The browser, and the rules of accessibility, that scripts/servers installs.
const (
	browserPath = "/usr/bin/chromium-headless-shell"
	axeFile     = "onceq/axe-core-4.14.1.min.js" // in the folder of caches
)

// browser is one headless browser for all tests of the package.
var browser = sync.OnceValues(func() (context.Context, error) {
	if _, err := os.Stat(browserPath); err != nil {
		return nil, err
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browserPath), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-gpu", true))
	all, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	first, _ := chromedp.NewContext(all)
	atTheEnd = append(atTheEnd, stop)
	return first, chromedp.Do(first)
})

// atTheEnd ends what lives as long as the tests.
var atTheEnd []func()

// tab is a page of the browser. It fails its test when the page says something on
// its console, or asks another server for something.
type tab struct {
	*testing.T
	ctx  context.Context
	base string // of the server

	mu      sync.Mutex
	said    []string
	allowed string // what the console may say: see allow
}

func newTab(t *testing.T, base string) *tab {
	t.Helper()
	first, err := browser()
	if err != nil {
		if os.Getenv("ONCEQ_TEST_REQUIRE") != "" {
			t.Fatal("the browser: ", err, " (scripts/servers installs it)")
		}
		t.Skip("no browser: scripts/servers installs it: ", err)
	}
	ctx, stop := chromedp.NewContext(first)
	b := &tab{T: t, ctx: ctx, base: base}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	chromedp.Listen(ctx, func(ev any) {
		said := ""
		switch e := ev.(type) {
		case *console.EventEntryAdded:
			said = fmt.Sprint("console: ", e.Entry.Level, " ", e.Entry.Text, " ", e.Entry.URL)
		case *runtime.EventExceptionThrown:
			said = "exception: " + e.ExceptionDetails.Text
		case *traffic.EventRequestWillBeSent:
			if !strings.HasPrefix(e.Request.URL, base) && !strings.HasPrefix(e.Request.URL, "about:") {
				said = "another server is asked: " + e.Request.URL
			}
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if said != "" && (b.allowed == "" || !strings.Contains(said, b.allowed)) {
			b.said = append(b.said, said)
		}
	})
	t.Cleanup(func() {
		stop()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, s := range b.said {
			t.Error(s)
		}
	})
	return b
}

// do takes steps, each within 30 s.
func (b *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, stop := context.WithTimeout(b.ctx, 30*time.Second)
	defer stop()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.Fatalf("%s: %v", what, err)
	}
}

func (b *tab) open(path string) {
	b.Helper()
	b.do("open "+path, chromedp.Navigate(b.base+path))
}

// eval runs a script of the test, not of the page, and returns what it gives as a
// text.
func (b *tab) eval(script string) string {
	b.Helper()
	ctx, stop := context.WithTimeout(b.ctx, 30*time.Second)
	defer stop()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.Fatalf("%s: %v", script[:min(80, len(script))], err)
	}
	return v
}

// wait waits until a script gives true.
func (b *tab) wait(script string) {
	b.Helper()
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if b.eval("String(document.readyState === 'complete' && "+script+")") == "true" {
			return
		}
	}
	b.Fatalf("never: %s, with the focus on %.200s, on a page that says: %.600s", script,
		b.eval("document.activeElement ? document.activeElement.outerHTML : ''"), b.eval("document.body.innerText"))
}

// size sets the width of the window, and whether it is dark.
func (b *tab) size(width int64, scheme string) {
	b.Helper()
	b.do(
		"size",
		chromedp.EmulateViewport(width, 800),
		func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
			_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			return chromedp.Void{}, err
		},
	)
}

// shot keeps a picture of the whole page in the folder ONCEQ_SHOTS, if that is
// set.
func (b *tab) shot(name string) {
	b.Helper()
	folder := os.Getenv("ONCEQ_SHOTS")
	if folder == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
}

var axe = sync.OnceValues(func() (string, error) {
	folder, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(folder, axeFile))
	return string(text), err
})

// accessible wants that axe finds nothing.
func (b *tab) accessible(where string) {
	b.Helper()
	b.axe(where, `{runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']}`)
}

// readable wants that axe finds no fault in colours.
func (b *tab) readable(where string) {
	b.Helper()
	b.axe(where, `{runOnly: {type: 'rule', values: ['color-contrast', 'link-in-text-block']}}`)
}

func (b *tab) axe(where, options string) {
	b.Helper()
	script, err := axe()
	if err != nil {
		b.Fatal("the rules of accessibility: ", err, " (scripts/servers fetches them)")
	}
	if b.eval("typeof axe") == "undefined" {
		b.eval(script + ";''")
	}
	found := b.eval(`axe.run(` + options + `).then(r =>
		JSON.stringify(r.violations.flatMap(v => v.nodes.slice(0, 3).map(n => v.id + ': ' + n.html.slice(0, 200) + ' ' +
		(n.failureSummary || '').slice(0, 300)))))`)
	var all []string
	if err := json.Unmarshal([]byte(found), &all); err != nil {
		b.Fatal(err)
	}
	for _, one := range all {
		b.Errorf("%s: %s", where, one)
	}
}

// fits wants that nothing is wider than the window, that no header of a table
// stands elsewhere than its column, and that texts do not lie on each other.
func (b *tab) fits(where string) {
	b.Helper()
	wide := b.eval(`JSON.stringify(document.documentElement.scrollWidth <= innerWidth ? [] :
		[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
		.slice(0, 5).map(e => e.outerHTML.slice(0, 160)).concat(document.documentElement.scrollWidth))`)
	if wide != "[]" {
		b.Errorf("%s: wider than the window: %s", where, wide)
	}
	over := b.eval(`(() => {
		const found = []
		for (const box of document.querySelectorAll('.tiles, .buttons, .head, .side, .top, .pager, .filter, dl, tr')) {
			const all = [...box.children].map(e => [e, e.getBoundingClientRect()])
				.filter(([e, r]) => r.width > 1 && r.height > 1)
			for (let i = 0; i < all.length; i++) for (let k = i + 1; k < all.length; k++) {
				const a = all[i][1], c = all[k][1]
				if (Math.min(a.right, c.right) - Math.max(a.left, c.left) > 1 &&
					Math.min(a.bottom, c.bottom) - Math.max(a.top, c.top) > 1)
					found.push(all[i][0].outerHTML.slice(0, 90) + ' lies on ' + all[k][0].outerHTML.slice(0, 90))
			}
		}
		return JSON.stringify(found.slice(0, 3))
	})()`)
	if over != "[]" {
		b.Errorf("%s: %s", where, over)
	}
}

// pageServer serves a handler under a prefix, as a program with pages of its own
// does.
func pageServer(t *testing.T, h http.Handler) string {
	mux := http.NewServeMux()
	mux.Handle("/a/b/", http.StripPrefix("/a/b", h))
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL + "/a/b/"
}

// allow lets the console say something from now on.
func (b *tab) allow(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allowed = text
}
