package guardhttp

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// problem is a refusal, as RFC 9457 writes it.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	again  int    // seconds until it may be tried again; 0 = do not
}

// The type of a problem is a name, not a page.
var (
	missing = problem{"urn:onceq:idempotency-key-missing", "Idempotency-Key is missing", http.StatusBadRequest,
		"this request needs the header Idempotency-Key: a text that is new for each request, and the same when it is " +
			"sent again", 0}
	malformed = problem{"urn:onceq:idempotency-key-malformed", "Idempotency-Key is malformed", http.StatusBadRequest,
		"the header Idempotency-Key must be there once, and have 1 to 255 bytes", 0}
	nobody = problem{"urn:onceq:idempotency-key-of-nobody", "Idempotency-Key needs a caller", http.StatusBadRequest,
		"a request with the header Idempotency-Key must say who makes it: keys belong to callers", 0}
	cut = problem{"urn:onceq:malformed", "The body was cut", http.StatusBadRequest,
		"the body of the request could not be read to its end, and nothing has happened", 0}
	large = problem{"urn:onceq:too-large", "The body is too large", http.StatusRequestEntityTooLarge,
		"the body of a request with the header Idempotency-Key must be smaller", 0}
	running = problem{"urn:onceq:idempotency-key-in-use", "The first request still runs", http.StatusConflict,
		"a request with this Idempotency-Key is being answered: send this one again later", 1}
	notKept = problem{"urn:onceq:idempotency-key-done", "Done, and the answer is not kept", http.StatusConflict,
		"a request with this Idempotency-Key was answered, and its answer was too large or too lively to be kept: it " +
			"is not run again", 0}
	reused = problem{"urn:onceq:idempotency-key-reused", "Idempotency-Key reused", http.StatusUnprocessableEntity,
		"this Idempotency-Key was sent with another request before: use a new one for each request", 0}
	away = problem{"urn:onceq:unavailable", "Not now", http.StatusServiceUnavailable,
		"whether this request has been made before cannot be found out just now: send it again with the same " +
			"Idempotency-Key", 1}
)

func refuse(w http.ResponseWriter, p problem) {
	text, _ := json.Marshal(p)
	w.Header().Set("Content-Type", "application/problem+json")
	if p.again > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.again))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(text, '\n')) // nobody is there to hear of it
}
