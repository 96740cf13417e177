// Netprobe tries every way out of a machine's network that a program with raw sockets has, and listens where nothing may
// arrive. It knows nothing of the network's making; what it is told are addresses and names.
//
//	netprobe ear TOKEN PORT      prints what arrives at this interface with the token in it, or at the port
//	netprobe host TOKEN PORT     prints what the sockets of this host receive of it
//	netprobe attack JSON         tries everything against the targets; prints what succeeded as seen from here
//	netprobe resolve NAME        asks with Go's own resolver; prints addresses, sorted
//	netprobe ask ADDRESS METHOD PATH [BODY [TOKEN]]
//	                             sends an HTTP request; prints status and body
//	netprobe mirror PORT         answers every HTTP request with the Fly-Client-IP it carries
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sort"
	"strconv"
	"sync"
)

func main() {
	if len(os.Args) < 3 {
		fail("usage: netprobe ear|host TOKEN PORT, attack JSON, resolve NAME")
	}
	switch os.Args[1] {
	case "ear":
		ear(os.Args[2], port(os.Args[3]))
	case "host":
		listenOnHost(os.Args[2], port(os.Args[3]))
	case "attack":
		var order Order
		if err := json.Unmarshal([]byte(os.Args[2]), &order); err != nil {
			fail(err.Error())
		}
		attack(order)
	case "resolve":
		found, err := net.LookupHost(os.Args[2])
		if err != nil {
			fail(err.Error())
		}
		sort.Strings(found)
		for _, address := range found {
			fmt.Println(address)
		}
	case "mirror":
		mirror(port(os.Args[2]))
	case "ask":
		if len(os.Args) < 5 {
			fail("usage: netprobe ask ADDRESS METHOD PATH [BODY [TOKEN]]")
		}
		ask(os.Args[2], os.Args[3], os.Args[4], os.Args[5:])
	default:
		fail("unknown command " + os.Args[1])
	}
}

func port(text string) int {
	number, err := strconv.Atoi(text)
	if err != nil {
		fail(err.Error())
	}
	return number
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(1)
}

var printing sync.Mutex

// say prints a whole line at once, whoever else prints.
func say(format string, values ...any) {
	printing.Lock()
	defer printing.Unlock()
	fmt.Printf(format+"\n", values...)
}
