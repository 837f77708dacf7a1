package redisstore

import (
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/onceq/onceq"
)

// bulk is how long the library may take to send or receive something large.
// The context ends it earlier.
const bulk = 10 * time.Second

// connections are a client with the settings that the store depends on.
type connections struct {
	usual redis.UniversalClient
	bulk  redis.UniversalClient // for large calls
}

// adopt gives a client those settings. A *redis.Client is copied: the copy
// shares its connections and hooks, and has settings of its own. A cluster
// client cannot be copied, so one without the settings is refused.
func adopt(client redis.UniversalClient) (connections, error) {
	switch c := client.(type) {
	case nil:
		return connections{}, refuseClient("nil", "must not be nil: make one with redis.NewClient, or use Open")
	case *redis.Client:
		timeout := c.Options().ReadTimeout
		if timeout <= 0 || timeout > bulk {
			timeout = bulk
		}
		return connections{settled(c, timeout), settled(c, bulk)}, nil
	case *redis.ClusterClient:
		if !c.Options().ContextTimeoutEnabled {
			return connections{}, refuseClient("*redis.ClusterClient", "must end a call when its context ends: "+
				"redis.NewClusterClient(&redis.ClusterOptions{Addrs: …, ContextTimeoutEnabled: true})")
		}
	case *redis.Ring:
		return connections{}, refuseClient("*redis.Ring", "must be a *redis.Client or *redis.ClusterClient: a ring "+
			"moves keys without their jobs")
	}
	return connections{client, client}, nil
}

// settled copies a client, which shares its connections. The copy ends a
// call with its context, has the given network time-out, and repeats
// nothing by itself.
func settled(c *redis.Client, timeout time.Duration) *redis.Client {
	copied := c.WithTimeout(timeout)
	o := copied.Options()
	o.ContextTimeoutEnabled, o.MaxRetries = true, 0
	return copied
}

func refuseClient(value, rule string) error {
	return &onceq.InvalidError{Field: "client", Value: value, Rule: rule}
}

// addressOf names the server of a client, without its password.
func addressOf(client redis.UniversalClient) string {
	switch c := client.(type) {
	case *redis.Client:
		o := c.Options()
		user := ""
		if o.Username != "" {
			user = o.Username + "@"
		}
		switch {
		case o.Network == "unix":
			return "unix://" + user + o.Addr + "?db=" + strconv.Itoa(o.DB)
		case o.TLSConfig != nil:
			return "rediss://" + user + o.Addr + "/" + strconv.Itoa(o.DB)
		}
		return "redis://" + user + o.Addr + "/" + strconv.Itoa(o.DB)
	case *redis.ClusterClient:
		return "redis+cluster://" + strings.Join(c.Options().Addrs, ",")
	}
	return "the server"
}
