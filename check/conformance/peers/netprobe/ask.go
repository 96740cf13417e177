package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// ask sends one request and prints the status on a line and the body behind it. An address that is a path is a Unix socket.
func ask(address, method, path string, rest []string) {
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, address)
	}}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	var body io.Reader
	if len(rest) > 0 {
		body = strings.NewReader(rest[0])
	}
	request, err := http.NewRequest(method, "http://localhost"+path, body)
	if err != nil {
		fail(err.Error())
	}
	if len(rest) > 1 {
		request.Header.Set("Authorization", "Bearer "+rest[1])
	}
	response, err := client.Do(request)
	if err != nil {
		fail(err.Error())
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		fail(err.Error())
	}
	fmt.Printf("%d\n%s", response.StatusCode, text)
}

// mirror tells every client who it is, as the proxy in front says.
func mirror(port int) {
	handler := http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		fmt.Fprintln(writer, request.Header.Get("Fly-Client-IP"))
	})
	fail(http.ListenAndServe(fmt.Sprintf(":%d", port), handler).Error())
}
