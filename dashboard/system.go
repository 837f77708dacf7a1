package dashboard

import (
	"net/http"
	"time"

	"github.com/onceq/onceq/internal/jsontext"
)

// system says what there is to know of this server and its store.
func (c *call) system() error {
	began := time.Now()
	list, err := c.client.QueuesUpTo(c.r.Context(), 1)
	if err != nil {
		return err
	}
	now := time.Now()
	return c.answer(http.StatusOK, struct {
		Version  string        `json:"version"`
		Store    string        `json:"store"`
		UptimeMS int64         `json:"uptime_ms"`
		AnswerMS int64         `json:"answer_ms"`
		SkewMS   int64         `json:"clock_skew_ms"`
		Polls    int64         `json:"polls"`
		MaxPolls int           `json:"max_polls"`
		Now      jsontext.Time `json:"now"`
	}{c.config.Version, c.config.Store, now.Sub(c.began).Milliseconds(), now.Sub(began).Milliseconds(),
		list.Now.Sub(now).Milliseconds(), c.polls.Load(), c.config.MaxPolls, jsontext.Time(list.Now)})
}
