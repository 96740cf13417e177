// The program that machines of the edge's tests run: it says what it was asked, orders replays when told to, and
// speaks WebSocket, server-sent events and HTTP/2 without TLS on $PORT.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// How long requests and WebSockets may go on after the machine is told to stop.
const drain = 10 * time.Second

// The largest message echoed.
const messageMax = 32 << 20

var upgrader = websocket.Upgrader{
	EnableCompression: true,
	CheckOrigin:       func(*http.Request) bool { return true },
}

var (
	stopping  = make(chan struct{})
	webSocket sync.WaitGroup
	busy      atomic.Int32
	broken    atomic.Bool
	reported  atomic.Value
)

func main() {
	if pause, err := time.ParseDuration(os.Getenv("LISTEN_AFTER")); err == nil {
		time.Sleep(pause)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", echoMessages)
	mux.HandleFunc("/events", events)
	mux.HandleFunc("/page", page)
	mux.HandleFunc("/check", check)
	mux.HandleFunc("/report", report)
	mux.HandleFunc("/", answer)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	server := &http.Server{Addr: "0.0.0.0:" + port, Handler: mux, Protocols: protocols}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGINT, syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		<-told
		close(stopping)
		patience, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		_ = server.Shutdown(patience)
		webSocket.Wait()
		close(ended)
	}()
	fmt.Println("listening on", port)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-ended
}

// Says what was asked. Of a request that was not replayed yet, X-Order is the replay to order, X-Order-Json the same as
// JSON, and X-Order-With-<name> a field of that answer; X-Order-Always orders again and again, X-Order-On-Hit also of a
// request that a remembered replay brought.
func answer(w http.ResponseWriter, r *http.Request) {
	upgrade := websocket.IsWebSocketUpgrade(r)
	if upgrade && r.Header.Get("X-Order") == "" {
		echoMessages(w, r)
		return
	}
	busy.Add(1)
	defer busy.Add(-1)
	query := r.URL.Query()
	if pause, err := time.ParseDuration(query.Get("pause")); err == nil {
		time.Sleep(pause)
	}
	if healthy := query.Get("healthy"); healthy != "" {
		broken.Store(healthy == "no")
	}
	if code, err := strconv.Atoi(query.Get("exit")); err == nil {
		os.Exit(code)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	replayed := r.Header.Get("Fly-Replay-Src") != "" || r.Header.Get("Fly-Replay-Failed") != ""
	fresh := !replayed && (r.Header.Get("Fly-Replay-Cache-Status") == "" || r.Header.Get("X-Order-On-Hit") != "")
	if upgrade && !fresh {
		echoMessages(w, r)
		return
	}
	order, orderJSON := r.Header.Get("X-Order"), r.Header.Get("X-Order-Json")
	if (order != "" || orderJSON != "") && (fresh || r.Header.Get("X-Order-Always") != "") {
		for name, values := range r.Header {
			if with, ok := strings.CutPrefix(name, "X-Order-With-"); ok {
				w.Header()[with] = values
			}
		}
		if orderJSON != "" {
			w.Header().Set("Content-Type", "application/vnd.fly.replay+json")
			_, _ = io.WriteString(w, orderJSON)
			return
		}
		w.Header().Set("Fly-Replay", order)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	headers := map[string]string{}
	for name, values := range r.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	text := ""
	if len(body) < 1000 {
		text = string(body)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"app":      os.Getenv("FLY_APP_NAME"),
		"machine":  os.Getenv("FLY_MACHINE_ID"),
		"region":   os.Getenv("FLY_REGION"),
		"mark":     os.Getenv("MARK"),
		"method":   r.Method,
		"target":   r.URL.RequestURI(),
		"host":     r.Host,
		"protocol": r.Proto,
		"headers":  headers,
		"busy":     busy.Load(),
		"length":   len(body),
		"body":     text,
		"pad":      strings.Repeat("mayfly ", number(query.Get("pad"))),
	})
}

// Says whether it was told to be well.
func check(w http.ResponseWriter, _ *http.Request) {
	if broken.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func echoMessages(w http.ResponseWriter, r *http.Request) {
	connection, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer connection.Close()
	connection.SetReadLimit(messageMax)
	webSocket.Add(1)
	defer webSocket.Done()
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-over:
		case <-stopping:
			soon := time.Now().Add(time.Second)
			bye := websocket.FormatCloseMessage(websocket.CloseGoingAway, os.Getenv("FLY_MACHINE_ID"))
			_ = connection.WriteControl(websocket.CloseMessage, bye, soon)
			_ = connection.SetReadDeadline(time.Now().Add(drain))
		}
	}()
	for {
		kind, message, err := connection.ReadMessage()
		if err != nil {
			return
		}
		if kind == websocket.TextMessage && !utf8.Valid(message) {
			bad := websocket.FormatCloseMessage(websocket.CloseInvalidFramePayloadData, "")
			_ = connection.WriteControl(websocket.CloseMessage, bad, time.Now().Add(time.Second))
			return
		}
		switch string(message) {
		case "who":
			message = []byte(os.Getenv("FLY_MACHINE_ID") + " " + os.Getenv("MARK"))
		case "via":
			message = []byte(r.Header.Get("Via"))
		}
		if connection.WriteMessage(kind, message) != nil {
			return
		}
	}
}

// Ten events, or as many as asked for.
func events(w http.ResponseWriter, r *http.Request) {
	count := number(r.URL.Query().Get("count"))
	if count == 0 {
		count = 10
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	for index := range count {
		fmt.Fprintf(w, "id: %d\ndata: event %d\n\n", index, index)
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Keeps what a page sends, and shows the last of it.
func report(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		text, _ := io.ReadAll(io.LimitReader(r.Body, 1<<16))
		reported.Store(string(text))
		return
	}
	text, _ := reported.Load().(string)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, text)
}

// A page that tries what browsers do and reports what came of it.
func page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, `<!doctype html><title>Mayfly</title><h1>Mayfly</h1><script>
const said = {};
const done = () => {
  if (said.ws && said.sse && said.fetch) {
    fetch("/report", {method: "POST", body: JSON.stringify(said)});
  }
};
const socket = new WebSocket(location.origin.replace("http", "ws") + "/ws");
socket.onopen = () => socket.send("via");
socket.onmessage = (event) => { said.ws = event.data; done(); };
socket.onerror = () => { said.ws = "error"; done(); };
let events = 0;
const source = new EventSource("/events?count=3");
source.onmessage = (event) => { if (++events === 3) { said.sse = event.data; source.close(); done(); } };
source.onerror = () => { said.sse ??= "error"; done(); };
fetch("/seen", {method: "POST", body: "x".repeat(100000)}).then((a) => a.json()).then((a) => {
  const [entry] = performance.getEntriesByType("navigation");
  said.fetch = {length: a.length, page: entry.nextHopProtocol, proto: a.headers["x-forwarded-proto"]};
  done();
});
</script>`)
}

func number(text string) int {
	value, _ := strconv.Atoi(text)
	return value
}
