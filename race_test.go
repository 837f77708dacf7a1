//go:build race

package onceq_test

const raced = true
