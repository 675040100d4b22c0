package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/grpc/metadata"

	dapr "github.com/dapr/go-sdk/client"
)

// target is an application that is called and published to.
type target struct {
	runtime dapr.Client
	id      string
	// kind is `http` or `grpc`: how it serves.
	kind string
}

// caller calls the application at another runtime and at its own, and publishes to both.
func caller() {
	ctx := context.Background()
	runtime := must(dapr.NewClient())
	defer runtime.Close()
	for _, id := range []string{need("APP_ID"), need("TARGET_APP_ID")} {
		kind, _, _ := strings.Cut(id, "-")
		it := target{runtime, id, kind}
		it.invocation(ctx)
		it.messages(ctx)
		it.routing(ctx)
		step("input binding of "+kind, func() {
			eventually("a tick", func() bool { return len(it.received(ctx, "tick")) > 0 })
		})
	}
	step("an unknown application", func() {
		_, err := runtime.InvokeMethod(ctx, "nobody", "echo", "post")
		fails(err, "nobody")
	})
	tracing(ctx)
}

// traced is a context with a trace of its own, and that trace's id. When the SDK has an API token it drops all other
// headers of a call, so that the token is among ours.
func traced(ctx context.Context) (context.Context, string) {
	id := make([]byte, 16)
	must(rand.Read(id))
	trace := hex.EncodeToString(id)
	return metadata.AppendToOutgoingContext(ctx, "dapr-api-token", need("DAPR_API_TOKEN"),
		"traceparent", fmt.Sprintf("00-%s-00f067aa0ba902b7-01", trace), "x-custom", "mine"), trace
}

// tracing uses the same client as all: it goes last.
func tracing(ctx context.Context) {
	runtime := must(dapr.NewClient())
	runtime.WithAuthToken("")
	for _, id := range []string{need("APP_ID"), need("TARGET_APP_ID")} {
		step("headers and trace to "+id, func() {
			ctx, trace := traced(ctx)
			answer := read[echoed](must(runtime.InvokeMethod(ctx, id, "echo", "post")))
			equal(answer.Custom, "mine")
			equal(strings.Split(answer.TraceParent, "-")[1], trace)
		})
	}
}

func read[T any](data []byte) (value T) {
	ok(json.Unmarshal(data, &value))
	return value
}

func (it target) topic(name string) string {
	return it.kind + "-" + name + "-" + need("RUN")
}

// received gives what came to the application of this kind, or with this name in its data.
func (it target) received(ctx context.Context, name string) (found []entry) {
	for _, got := range read[[]entry](must(it.runtime.InvokeMethod(ctx, it.id, "received", "get"))) {
		data, _ := got.Data.(map[string]any)
		if got.Kind == name || data["name"] == name {
			found = append(found, got)
		}
	}
	return found
}

func (it target) invocation(ctx context.Context) {
	for _, verb := range []string{"POST", "PUT", "DELETE"} {
		step("invoke "+it.kind+" by "+verb, func() {
			content := &dapr.DataContent{Data: []byte(`{"a":"ä"}`), ContentType: "application/json"}
			data := must(it.runtime.InvokeMethodWithContent(ctx, it.id, "echo?a=1&b=x", verb, content))
			answer := read[echoed](data)
			equal([]string{answer.Body, answer.ContentType}, []string{`{"a":"ä"}`, "application/json"})
			equal([]string{answer.Verb, answer.Query}, []string{verb, "a=1&b=x"})
			equal([]string{answer.Caller, answer.Token}, []string{need("APP_ID"), need("APP_API_TOKEN")})
		})
	}
}

func (it target) messages(ctx context.Context) {
	expect := map[string][]string{"": {"order"}, "drop": {"order", "dead letter"}}
	for please, kinds := range expect {
		step("publish to "+it.kind+" "+please, func() { it.publish(ctx, "orders", please, kinds) })
	}
	// Over gRPC the SDK hands on only what the application has subscribed to itself.
	if it.kind == "http" {
		step("declared subscription", func() { it.publish(ctx, "declared", "", []string{"declared"}) })
	}
	step("retry at "+it.kind, func() { it.publish(ctx, "again", "", []string{"again", "again"}) })
}

// publish sends an event and waits for it to come as often as there are kinds, as these.
func (it target) publish(ctx context.Context, topic, please string, kinds []string) {
	name := rand.Text()
	event := map[string]string{"name": name, "please": please}
	ok(it.runtime.PublishEvent(ctx, "pubsub", it.topic(topic), event))
	var found []entry
	eventually("it arrives", func() bool {
		found = it.received(ctx, name)
		return len(found) >= len(kinds)
	})
	for index, got := range found {
		equal([]string{got.Kind, got.Type, got.Source}, []string{kinds[index], "com.dapr.event.sent", need("APP_ID")})
		equal(len(strings.Split(got.TraceParent, "-")), 4)
	}
}

func (it target) routing(ctx context.Context) {
	for _, kind := range []string{"important", "unimportant"} {
		step("routing rule for what is "+kind, func() {
			name := rand.Text()
			option := dapr.PublishEventWithMetadata(map[string]string{"cloudevent.type": kind})
			ok(it.runtime.PublishEvent(ctx, "pubsub", it.topic("routed"), map[string]string{"name": name}, option))
			eventually("it arrives", func() bool { return len(it.received(ctx, name)) > 0 })
			equal(it.received(ctx, name)[0].Kind, kind)
		})
	}
}
