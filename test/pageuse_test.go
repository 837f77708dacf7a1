package test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/dashboard"
)

func (b *tab) withoutScripts() {
	b.Helper()
	b.do("no scripts", func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled,
			emulation.SetScriptExecutionDisabledParams{Value: true})
		return chromedp.Void{}, err
	})
}

func TestABrowserSignsInAndOut(t *testing.T) {
	w := newPageWorld(t)
	w.fill()
	tokens, err := dashboard.ReadTokens(strings.NewReader("operate operate-0123456789abcdefghij ann\n"))
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	d, err := dashboard.New(w.client, &dashboard.Config{Authorize: tokens.Authorize, Who: tokens.Who, Login: tokens,
		Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	b := newTab(t, pageServer(t, d))
	b.allow("401 (Unauthorized)")
	b.open("jobs?state=running") // whoever has no session is led to the form
	b.wait(`document.title.startsWith('Sign in')`)
	b.lookAgain("full-sign-in")
	signIn := func(token string) {
		b.fillIn("token", token)
		b.do("sign in", chromedp.Click(`form[action$="login"] button`))
	}
	signIn("not-a-token-0123456789")
	b.wait(`document.body.innerText.includes('This is not a token of this server')`)
	signIn("operate-0123456789abcdefghij")
	b.wait(`document.title.startsWith('Overview')`)
	if text := b.eval("document.cookie + location.href"); strings.Contains(text, "operate-") ||
		strings.Contains(text, "onceq_session") {
		t.Errorf("a script or the address has the session: %s", text)
	}
	b.open("jobs")
	b.wait(`document.querySelectorAll('td input[type=checkbox]').length > 3`)
	b.do("sign out", chromedp.Click(`form[action$="logout"] button`))
	b.wait(`document.title.startsWith('Sign in')`)
	b.open("jobs")
	b.wait(`document.title.startsWith('Sign in')`)
}

func TestRowsAreChosenWithTheKeyboard(t *testing.T) {
	w := newPageWorld(t)
	w.fill()
	b := newTab(t, w.url)
	b.size(1280, "light")
	b.open("jobs?queue=billing")
	press := func(keys string) {
		t.Helper()
		for _, key := range keys {
			b.do("press "+string(key), chromedp.KeyEvent(string(key)))
		}
	}
	chosen := func() string { return b.eval("String(document.querySelectorAll('td input:checked').length)") }
	press("?")
	b.wait(`!!document.querySelector('#help[open]')`)
	b.accessible("help")
	b.shot("full-help-1280-light")
	press("\x1b")
	b.wait(`!document.querySelector('#help[open]')`)
	press("jxjx")
	if n := chosen(); n != "2" {
		t.Fatalf("%s rows are chosen, want 2", n)
	}
	press("\x1b")
	if n := chosen(); n != "0" {
		t.Fatalf("%s rows are chosen after Esc", n)
	}
	press("jxjxjxx")
	if n := b.eval("document.querySelector('[data-chosen]').textContent"); n != "2" {
		t.Errorf("the page says that %q are chosen, want 2", n)
	}
	b.shot("full-chosen-1280-light")
	b.accessible("chosen")
	b.eval(`document.querySelector('#chosen button[formaction$="/cancel"]').focus(); ''`)
	press("\r")
	b.wait(`!!document.querySelector('dialog[open] [data-question]')`)
	if text := b.eval("document.querySelector('dialog[open]').innerText"); !contains(text, "Cancel 2 jobs?",
		"2 of the 2 that you chose will be cancelled") {
		t.Errorf("the question is: %s", text)
	}
	b.shot("full-chosen-question-1280-light")
	b.eval("document.querySelector('dialog form button').focus(); ''")
	press("\r")
	b.wait(`document.body.innerText.includes('2 jobs cancelled')`)
	n := 0
	for j, err := range w.client.Jobs(t.Context(), onceq.JobFilter{Queue: "billing"}) {
		if err != nil {
			t.Fatal(err)
		}
		if j.State == onceq.Cancelled {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d jobs are cancelled, want 2", n)
	}
	b.open("jobs")
	press("jo")
	b.wait(`document.title.startsWith('Job ')`)
}

func TestRowsAreChosenWithoutScripts(t *testing.T) {
	w := newPageWorld(t)
	jobs := w.fill()
	b := newTab(t, w.url)
	b.withoutScripts()
	b.open("jobs")
	b.do("cancel", chromedp.Click(`input[value="`+jobs["scheduled"].ID+`"]`),
		chromedp.Click(`#chosen button[formaction$="/cancel"]`), chromedp.WaitVisible(`[data-question] form button`),
		chromedp.Click(`[data-question] form button`), chromedp.WaitVisible(`[data-question] a.primary`))
	if j, err := w.client.Job(t.Context(), jobs["scheduled"].ID); err != nil || j.State != onceq.Cancelled {
		t.Errorf("%+v, %v", j, err)
	}
	if j, err := w.client.Job(t.Context(), jobs["available"].ID); err != nil || j.State != onceq.Available {
		t.Errorf("%+v, %v", j, err)
	}
}

// A page that is open says when it gets no answer any more, and keeps what it
// has; a chosen row stays chosen.
func TestAnOpenPageSaysSinceWhenThereIsNoAnswer(t *testing.T) {
	w := newPageWorld(t)
	w.enqueue("mail", `{"to":1}`, onceq.ID("first"))
	b := newTab(t, w.url)
	b.allow("500 (Internal")
	b.open("jobs")
	w.broken.Store(true)
	b.wait(`document.getElementById('live').innerText.includes('No answer since')`)
	b.wait(`document.body.innerText.includes('first')`)
	b.shot("full-no-answer-1280-light")
	w.broken.Store(false)
	w.enqueue("mail", `{"to":2}`, onceq.ID("second"))
	b.wait(`document.getElementById('live').innerText.includes('Live') && document.body.innerText.includes('second')`)
}
