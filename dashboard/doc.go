// Package dashboard serves a store over HTTP: what the command onceq serve
// serves, for a server of your own.
//
//	d, err := dashboard.New(client, &dashboard.Config{
//		Authorize: tokens.Authorize,
//		Who:       tokens.Who,
//	})
//	mux.Handle("/onceq/", http.StripPrefix("/onceq", d))
//
// Pages for people are at its root. The calls are below api/v1; docs/http.md has
// each with an example, and openapi.json describes them. Nothing is there
// without Authorize: it says who may do what.
package dashboard
