package dashboard

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// However many pages and streams are open, they take a tenth of the time.
func TestOpenPagesTakeATenthOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		var busy time.Duration
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for i := range 64 {
			go func() {
				for time.Since(began) < time.Minute {
					end, ok := p.begin() // a page
					if i%2 == 0 {        // a stream
						if !ok {
							end, ok = p.turn(ctx)
						}
					}
					if ok {
						time.Sleep(200 * time.Millisecond)
						busy += 200 * time.Millisecond // one at a time
						end()
					}
					time.Sleep(time.Second)
				}
			}()
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if share := float64(busy) / float64(time.Minute); share > .11 || share < .05 {
			t.Errorf("%v of a minute", busy)
		}
	})
}

func TestAPageThatLoadsItselfTooSoonIsToldToWait(t *testing.T) {
	w := serve(t, nil)
	ask := func(header ...string) answer {
		return w.send(w.request("GET", "/queues", "", header...), "")
	}
	end, ok := w.live.begin()
	if !ok {
		t.Fatal("nothing is under way")
	}
	if a := w.is(ask(liveHeader, "1"), http.StatusNoContent); a.header.Get("Retry-After") == "" || a.body != "" {
		t.Errorf("%v %q", a.header, a.body)
	}
	w.is(ask(), http.StatusOK) // a person does not wait
	end()
	w.live.from = time.Time{}
	w.is(ask(liveHeader, "1"), http.StatusOK)
}
