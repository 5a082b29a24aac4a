// Command interop is a Matrix client on mautrix-go that a test drives over standard input and output.
//
// A line in is {"id", "command", ...arguments}; a line out is {"id", "result"} or {"id", "error"}, or {"event"} for an
// event of a timeline. The same protocol is spoken by ../nio/client.py and ../support/own-process.ts.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

type handler func(ctx context.Context, c *client, arguments json.RawMessage) (any, error)

var handlers = map[string]handler{
	"open":         open,
	"join":         join,
	"invite":       invite,
	"leave":        leave,
	"send":         send,
	"sendFile":     sendFile,
	"download":     download,
	"rotate":       rotate,
	"decrypt":      decrypt,
	"devices":      devices,
	"wipeSessions": wipeSessions,
	"crossSign":    crossSign,
	"verify":       verify,
	"backUp":       backUp,
	"recover":      recoverFrom,
}

var output sync.Mutex

func write(line any) {
	text, err := json.Marshal(line)
	if err != nil {
		text = []byte(fmt.Sprintf(`{"error":%q}`, err.Error()))
	}
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(text, '\n'))
}

func main() {
	ctx := context.Background()
	c := &client{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		answer(ctx, c, lines.Bytes())
	}
}

func answer(ctx context.Context, c *client, line []byte) {
	var request struct {
		ID      int    `json:"id"`
		Command string `json:"command"`
	}
	if err := json.Unmarshal(line, &request); err != nil {
		write(map[string]any{"error": err.Error()})
		return
	}
	run, known := handlers[request.Command]
	if !known {
		write(map[string]any{"id": request.ID, "error": "unknown command " + request.Command})
		return
	}
	result, err := run(ctx, c, line)
	if err != nil {
		write(map[string]any{"id": request.ID, "error": err.Error()})
		return
	}
	write(map[string]any{"id": request.ID, "result": result})
}
