// Package cron reads schedules and computes their ticks: pure functions, no
// clock.
//
// A schedule is five fields (minute, hour, day of month, month, day of week),
// a name such as @daily, or "@every 90s". Five rules say when its ticks are.
//
//  1. A field is a list of values, ranges and steps (* , - /). Months and days
//     of the week have names; Sunday is 0 and 7. "@every" ticks at the
//     multiples of its duration since the Unix epoch.
//  2. If day of month and day of week are both restricted, either is enough.
//     A field that begins with * is not a restriction.
//  3. If the hour field begins with *, the schedule follows elapsed time: there
//     is a tick at every instant at which the clock on the wall shows a listed
//     time. In spring there is none in the gap, in autumn the hour that comes
//     twice has its ticks twice.
//  4. Otherwise it follows the calendar: each listed time has one tick a date.
//     A time in a gap has it at the first instant after the gap, where several
//     become one. A time that comes twice has it the first time.
//  5. A date that a time zone leaves out has no tick.
package cron
