module github.com/onceq/onceq/test

go 1.26

require github.com/onceq/onceq v0.0.0

replace github.com/onceq/onceq => ../
