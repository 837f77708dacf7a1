// Package reserved lets packages of this module enqueue jobs whose queue or
// kind begins with "onceq.". Such names belong to onceq itself: claims of
// package guard, periodic schedules. Users cannot take them.
package reserved

// Allow is an onceq.Option that accepts reserved names for one enqueue. The
// root package sets it. Its type is any because the root imports this
// package:
//
//	client.Enqueue(ctx, args, onceq.Queue("onceq.guard/x"), reserved.Allow.(onceq.Option))
var Allow any
