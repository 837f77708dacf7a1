// Package guardrecipes has recipes of docs/guard.md for brokers that have no
// package of their own: Kafka (franz-go) and RabbitMQ (amqp091-go). They are to
// be copied. Their tests run them against brokers that are killed.
package guardrecipes

import (
	"encoding/json"

	"github.com/onceq/onceq"
)

// argsOf is what makes two messages the same. JSON is compared by value, so that
// options may name its fields, and anything else as bytes.
func argsOf(kind string, body []byte) onceq.Args {
	if json.Valid(body) {
		return onceq.JSON(kind, body)
	}
	return onceq.Bytes(kind, body)
}
