package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestLengthsOfTimeAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 250 * time.Millisecond: "250ms", 3900 * time.Millisecond: "4s", 90 * time.Second: "1m30s",
		20*time.Minute + 5*time.Second: "20m",
		time.Hour:                      "1h", time.Hour - time.Millisecond: "1h", 90 * time.Minute: "1h30m",
		24 * time.Hour: "1d", 36 * time.Hour: "1d12h", 400 * 24 * time.Hour: "400d",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	now := time.Now()
	for d, want := range map[time.Duration]string{-3 * time.Second: "3s ago", 2 * time.Hour: "in 2h", 0: "now"} {
		if got := away(now.Add(d), now); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestNumbersHaveThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", -1234: "-1,234", 123456789: "123,456,789",
		-123: "-123"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}

func TestWhatSomebodyElseWroteCannotSteerATerminal(t *testing.T) {
	for in, want := range map[string]string{"plain é 漢": "plain é 漢", "a\x1b[31mb": `a\x1b[31mb`, "a\nb\tc": `a\nb\tc`,
		"\u202eevil": `\u202eevil`, "\x9b31m": `�31m`} {
		if got := clean(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestColumnsAlign(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out}
	a.table([]string{"NAME", "N", "WHAT"}, [][]cell{{text("ä"), number(5), text("one")},
		{text("longer"), number(12345), text("two")}})
	want := "NAME         N  WHAT\nä            5  one\nlonger  12,345  two\n"
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestLinesOfSeveralJobsStayApart(t *testing.T) {
	var out bytes.Buffer
	o := &output{w: &out}
	one, two := &channel{to: o, prefix: "1: "}, &channel{to: o, prefix: "2: "}
	for _, part := range []struct {
		c    *channel
		text string
	}{{one, "a"}, {two, "x\ny"}, {one, "b\nc"}, {two, "z\n"}} {
		if n, err := part.c.Write([]byte(part.text)); n != len(part.text) || err != nil {
			t.Fatal(n, err)
		}
	}
	one.flush()
	two.flush()
	if want := "2: x\n1: ab\n2: yz\n1: c\n"; out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestTheEndOfALongErrorIsKept(t *testing.T) {
	last := &tail{most: 10}
	if last.String() != "" {
		t.Errorf("%q", last)
	}
	_, _ = last.Write([]byte(strings.Repeat("x", 100)))
	_, _ = last.Write([]byte("the end.\n"))
	if got := last.String(); got != ": …xthe end." {
		t.Errorf("%q", got)
	}
}

// On a narrow terminal columns go before lines wrap.
func TestSpareColumnsAreLeftOutWhereThereIsNoRoom(t *testing.T) {
	header := []string{"ID", "KIND", "ATTEMPT", "WHEN"}
	rows := [][]cell{{text(strings.Repeat("i", 26)), text("mail"), text("0/25"), text(strings.Repeat("w", 50))}}
	for room, want := range map[int]string{0: "ID KIND ATTEMPT WHEN", 200: "ID KIND ATTEMPT WHEN",
		67: "ID KIND ATTEMPT WHEN", 66: "ID KIND WHEN", 57: "ID WHEN", 10: "ID WHEN"} {
		got, fewer := narrowed(header, rows, room, []string{"ATTEMPT", "none", "KIND"})
		if strings.Join(got, " ") != want || len(fewer[0]) != len(got) {
			t.Errorf("%d columns: %q", room, got)
		}
	}
}
