package main

import (
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"time"
)

// step runs a part of a program under its name; the first that panics ends the program with it.
func step(name string, run func()) {
	defer func() {
		if failure := recover(); failure != nil {
			fmt.Printf("%v\n%s\nFAILED: %s\n", failure, debug.Stack(), name)
			os.Exit(1)
		}
	}()
	run()
	fmt.Printf("passed: %s\n", name)
}

// ok ends the step when there is an error.
func ok(err error) {
	if err != nil {
		panic(err)
	}
}

// must gives the value of a call without an error.
func must[T any](value T, err error) T {
	ok(err)
	return value
}

// equal ends the step when the two differ.
func equal(found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		panic(fmt.Sprintf("%#v is not %#v", found, expected))
	}
}

// fails ends the step unless there is an error with this part in its text.
func fails(err error, part string) {
	if err == nil || !strings.Contains(strings.ToLower(err.Error()), part) {
		panic(fmt.Sprintf("an error with %q expected, not %v", part, err))
	}
}

// eventually asks again and again until there is an answer.
func eventually(what string, probe func() bool) {
	end := time.Now().Add(30 * time.Second)
	for !probe() {
		if time.Now().After(end) {
			panic("not in time: " + what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// need gives a variable that the stage sets.
func need(variable string) string {
	value := os.Getenv(variable)
	if value == "" {
		panic(variable + " is not set")
	}
	return value
}
