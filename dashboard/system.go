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
	info, err := c.client.StoreInfo(c.r.Context())
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, struct {
		Version  string        `json:"version"`
		Store    string        `json:"store"`
		UptimeMS int64         `json:"uptime_ms"`
		AnswerMS int64         `json:"answer_ms"`
		SkewMS   int64         `json:"clock_skew_ms"`
		Polls    int64         `json:"polls"`
		MaxPolls int           `json:"max_polls"`
		Streams  int           `json:"streams"`
		Server   string        `json:"server"`
		Schema   string        `json:"schema"`
		Warnings []string      `json:"warnings"`
		Now      jsontext.Time `json:"now"`
	}{c.config.Version, c.config.Store, now.Sub(c.began).Milliseconds(), now.Sub(began).Milliseconds(),
		list.Now.Sub(now).Milliseconds(), c.polls.Load(), c.config.MaxPolls, c.Streams(), info.Server,
		info.Schema, append([]string{}, info.Warnings...), jsontext.Time(list.Now)})
}
