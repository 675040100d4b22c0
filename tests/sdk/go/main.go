// Programs of the Go SDK: a client, an application over HTTP or gRPC, and a caller of both.
package main

import (
	"fmt"
	"os"
)

func main() {
	programs := map[string]func(){"client": client, "http": httpApp, "grpc": grpcApp, "caller": caller}
	program := programs[os.Args[len(os.Args)-1]]
	if program == nil {
		fmt.Println("usage: programs client|http|grpc|caller")
		os.Exit(2)
	}
	program()
	fmt.Println("all steps passed")
}
