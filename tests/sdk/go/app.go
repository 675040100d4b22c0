package main

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"google.golang.org/grpc/metadata"

	"github.com/dapr/go-sdk/service/common"
	daprgrpc "github.com/dapr/go-sdk/service/grpc"
	daprhttp "github.com/dapr/go-sdk/service/http"
)

// entry is something that the application got.
type entry struct {
	Kind        string `json:"kind"`
	ID          string `json:"id"`
	Type        string `json:"type"`
	Source      string `json:"source"`
	Data        any    `json:"data"`
	TraceParent string `json:"traceparent"`
}

// echoed is what the method `echo` tells of its caller.
type echoed struct {
	Body, ContentType, Verb, Query     string
	Custom, Caller, TraceParent, Token string
}

// application notes what it gets; what it got is asked of it by the method `received`.
type application struct {
	kind     string
	lock     sync.Mutex
	received []entry
}

func httpApp() {
	serve("http", daprhttp.NewService("127.0.0.1:"+need("APP_PORT")))
}

func grpcApp() {
	serve("grpc", must(daprgrpc.NewService("127.0.0.1:"+need("APP_PORT"))))
}

func serve(kind string, service common.Service) {
	app := &application{kind: kind, received: []entry{}}
	dead := app.topic("dead")
	ok(service.AddTopicEventHandler(&common.Subscription{
		PubsubName: "pubsub", Topic: app.topic("orders"), Route: "/orders", DeadLetterTopic: dead,
	}, app.orders))
	ok(service.AddTopicEventHandler(&common.Subscription{PubsubName: "pubsub", Topic: dead, Route: "/dead"}, app.noting("dead letter")))
	ok(service.AddTopicEventHandler(&common.Subscription{PubsubName: "pubsub", Topic: app.topic("again"), Route: "/again"}, app.again))
	ok(service.AddTopicEventHandler(&common.Subscription{
		PubsubName: "pubsub", Topic: app.topic("routed"), Route: "/important", Match: `event.type == "important"`, Priority: 1,
	}, app.noting("important")))
	ok(service.AddTopicEventHandler(&common.Subscription{
		PubsubName: "pubsub", Topic: app.topic("routed"), Route: "/unimportant",
	}, app.noting("unimportant")))
	ok(service.AddBindingInvocationHandler("tick", func(context.Context, *common.BindingEvent) ([]byte, error) {
		app.note(entry{Kind: "tick"})
		return nil, nil
	}))
	ok(service.AddServiceInvocationHandler("echo", echo))
	ok(service.AddServiceInvocationHandler("received", app.show))
	ok(service.AddServiceInvocationHandler("declared", app.declared))
	ok(service.AddHealthCheckHandler("healthz", func(context.Context) error { return nil }))
	ok(service.Start())
}

func (app *application) topic(name string) string {
	return app.kind + "-" + name + "-" + need("RUN")
}

func (app *application) note(it entry) {
	app.lock.Lock()
	defer app.lock.Unlock()
	app.received = append(app.received, it)
}

func (app *application) noteEvent(ctx context.Context, kind string, event *common.TopicEvent) {
	trace := event.TraceParent
	if trace == "" {
		trace = header(ctx, "traceparent")
	}
	app.note(entry{kind, event.ID, event.Type, event.Source, event.Data, trace})
}

func (app *application) noting(kind string) common.TopicEventHandler {
	return func(ctx context.Context, event *common.TopicEvent) (bool, error) {
		app.noteEvent(ctx, kind, event)
		return false, nil
	}
}

func (app *application) orders(ctx context.Context, event *common.TopicEvent) (bool, error) {
	app.noteEvent(ctx, "order", event)
	if order, is := event.Data.(map[string]any); is && order["please"] == "drop" {
		return false, errors.New("not wanted")
	}
	return false, nil
}

// again has no dead letters: where there are some, a message that is asked for again becomes one.
func (app *application) again(ctx context.Context, event *common.TopicEvent) (bool, error) {
	app.noteEvent(ctx, "again", event)
	app.lock.Lock()
	defer app.lock.Unlock()
	times := 0
	for _, it := range app.received {
		if it.ID == event.ID {
			times++
		}
	}
	if times == 1 {
		return true, errors.New("not yet")
	}
	return false, nil
}

// declared takes what a Subscription file declares: for the SDK it is a call.
func (app *application) declared(ctx context.Context, in *common.InvocationEvent) (*common.Content, error) {
	event := common.TopicEvent{}
	if err := json.Unmarshal(in.Data, &event); err != nil {
		return nil, err
	}
	app.noteEvent(ctx, "declared", &event)
	return nil, nil
}

func (app *application) show(context.Context, *common.InvocationEvent) (*common.Content, error) {
	app.lock.Lock()
	defer app.lock.Unlock()
	return content(app.received)
}

func echo(ctx context.Context, in *common.InvocationEvent) (*common.Content, error) {
	return content(echoed{
		Body: string(in.Data), ContentType: in.ContentType, Verb: in.Verb, Query: in.QueryString,
		Custom: header(ctx, "x-custom"), Caller: header(ctx, "dapr-caller-app-id"),
		TraceParent: header(ctx, "traceparent"), Token: header(ctx, "dapr-api-token"),
	})
}

func content(value any) (*common.Content, error) {
	data, err := json.Marshal(value)
	return &common.Content{Data: data, ContentType: "application/json"}, err
}

// header of a call: the SDK puts those of HTTP where those of gRPC are.
func header(ctx context.Context, name string) string {
	values := []string{}
	if all, is := metadata.FromIncomingContext(ctx); is {
		values = all.Get(name)
	}
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
