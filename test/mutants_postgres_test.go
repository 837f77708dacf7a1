package test

var postgresMutants = []mutant{}
