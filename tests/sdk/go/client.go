package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	dapr "github.com/dapr/go-sdk/client"
	"github.com/dapr/go-sdk/service/common"
)

// client does what a program without a server of its own does.
func client() {
	ctx := context.Background()
	runtime := must(dapr.NewClient())
	defer runtime.Close()
	step("wait", func() { ok(runtime.Wait(ctx, 10*time.Second)) })
	stores := describe(ctx, runtime)
	for _, store := range []string{"statestore", "memorystore"} {
		if slices.Contains(stores, store) {
			state(ctx, runtime, store)
			bulkState(ctx, runtime, store)
		}
	}
	messages(ctx, runtime)
	bindingsAndSecrets(ctx, runtime)
	configuration(ctx, runtime)
	lock(ctx, runtime)
	cryptography(ctx, runtime)
	conversation(ctx, runtime)
	step("shutdown", func() { ok(runtime.Shutdown(ctx)) })
}

func describe(ctx context.Context, runtime dapr.Client) (names []string) {
	step("metadata", func() {
		ok(runtime.SetMetadata(ctx, "colour", "green"))
		found := must(runtime.GetMetadata(ctx))
		equal(found.ID, need("APP_ID"))
		equal(found.ExtendedMetadata["colour"], "green")
		for _, component := range found.RegisteredComponents {
			names = append(names, component.Name)
			if component.Name == "statestore" {
				equal(slices.Contains(component.Capabilities, "ETAG"), true)
			}
		}
	})
	step("a wrong API token", func() {
		runtime.WithAuthToken("wrong")
		_, err := runtime.GetMetadata(ctx)
		runtime.WithAuthToken(need("DAPR_API_TOKEN"))
		equal(status.Code(err), codes.Unauthenticated)
	})
	return names
}

func state(ctx context.Context, runtime dapr.Client, store string) {
	value := func(key string) string { return string(must(runtime.GetState(ctx, store, key, nil)).Value) }
	firstWrite := &dapr.StateOptions{Concurrency: dapr.StateConcurrencyFirstWrite, Consistency: dapr.StateConsistencyStrong}
	options := []dapr.StateOption{
		dapr.WithConcurrency(firstWrite.Concurrency), dapr.WithConsistency(firstWrite.Consistency),
	}

	step(store+": save, get, delete", func() {
		equal(value("k"), "")
		ok(runtime.SaveState(ctx, store, "k", []byte("v\x00\xff"), nil))
		equal(value("k"), "v\x00\xff")
		ok(runtime.DeleteState(ctx, store, "k", nil))
		equal(value("k"), "")
	})

	step(store+": etags", func() {
		ok(runtime.SaveState(ctx, store, "k", []byte("v1"), nil))
		old := must(runtime.GetState(ctx, store, "k", nil)).Etag
		ok(runtime.SaveStateWithETag(ctx, store, "k", []byte("v2"), old, nil, options...))
		fails(runtime.SaveStateWithETag(ctx, store, "k", []byte("v3"), old, nil, options...), "etag")
		fails(runtime.DeleteStateWithETag(ctx, store, "k", &dapr.ETag{Value: old}, nil, firstWrite), "etag")
		equal(value("k"), "v2")
		now := must(runtime.GetStateWithConsistency(ctx, store, "k", nil, dapr.StateConsistencyStrong)).Etag
		ok(runtime.DeleteStateWithETag(ctx, store, "k", &dapr.ETag{Value: now}, nil, firstWrite))
		equal(value("k"), "")
	})

	step(store+": transaction", func() {
		ok(runtime.SaveState(ctx, store, "b", []byte("1"), nil))
		ok(runtime.ExecuteStateTransaction(ctx, store, nil, []*dapr.StateOperation{
			{Type: dapr.StateOperationTypeUpsert, Item: &dapr.SetStateItem{Key: "a", Value: []byte("x")}},
			{Type: dapr.StateOperationTypeDelete, Item: &dapr.SetStateItem{Key: "b"}},
		}))
		equal([]string{value("a"), value("b")}, []string{"x", ""})
	})

	step(store+": time to live", func() {
		ok(runtime.SaveState(ctx, store, "short", []byte("lived"), map[string]string{"ttlInSeconds": "3"}))
		equal(value("short"), "lived")
		eventually("it expires", func() bool { return value("short") == "" })
	})

	step("an unknown state store", func() {
		_, err := runtime.GetState(ctx, "nowhere", "k", nil)
		fails(err, "nowhere")
	})
}

func bulkState(ctx context.Context, runtime dapr.Client, store string) {
	step(store+": bulk", func() {
		ok(runtime.SaveBulkState(ctx, store,
			&dapr.SetStateItem{Key: "a", Value: []byte("1")}, &dapr.SetStateItem{Key: "b", Value: []byte("2")}))
		found := map[string]string{}
		for _, item := range must(runtime.GetBulkState(ctx, store, []string{"a", "b", "none"}, nil, 2)) {
			found[item.Key] = string(item.Value)
		}
		equal(found, map[string]string{"a": "1", "b": "2", "none": ""})
		ok(runtime.DeleteBulkState(ctx, store, []string{"a", "b"}, nil))
		equal(len(must(runtime.GetState(ctx, store, "a", nil)).Value), 0)
	})
}

func messages(ctx context.Context, runtime dapr.Client) {
	topic := "stream-go-" + need("RUN")
	options := dapr.SubscriptionOptions{PubsubName: "pubsub", Topic: topic}
	step("streamed subscription", func() {
		subscription := must(runtime.Subscribe(ctx, options))
		ok(runtime.PublishEvent(ctx, "pubsub", topic, map[string]int{"n": 1}))
		message := must(subscription.Receive())
		equal(message.Data, map[string]any{"n": 1.0})
		equal([]string{message.Topic, message.PubsubName, message.Source}, []string{topic, "pubsub", need("APP_ID")})
		ok(message.Retry())
		again := must(subscription.Receive())
		equal(again.ID, message.ID)
		ok(again.Success())
		ok(subscription.Close())
	})

	step("bulk publish to a handler", func() {
		var lock sync.Mutex
		seen := []string{}
		options.Topic = "bulk-go-" + need("RUN")
		stop := must(runtime.SubscribeWithHandler(ctx, options, func(event *common.TopicEvent) common.SubscriptionResponseStatus {
			lock.Lock()
			defer lock.Unlock()
			seen = append(seen, string(event.RawData))
			return common.SubscriptionResponseStatusSuccess
		}))
		answer := runtime.PublishEvents(ctx, "pubsub", options.Topic, []any{"one", dapr.PublishEventsEvent{
			EntryID: "second", Data: []byte("two"), ContentType: "text/plain",
		}})
		ok(answer.Error)
		equal(len(answer.FailedEvents), 0)
		eventually("both arrive", func() bool {
			lock.Lock()
			defer lock.Unlock()
			return slices.Contains(seen, "one") && slices.Contains(seen, "two")
		})
		ok(stop())
	})

	step("publishing to an unknown component", func() {
		fails(runtime.PublishEvent(ctx, "nowhere", topic, "x"), "nowhere")
		equal(len(runtime.PublishEvents(ctx, "nowhere", topic, []any{"x", "y"}).FailedEvents), 2)
	})
}

func bindingsAndSecrets(ctx context.Context, runtime dapr.Client) {
	step("output binding", func() {
		invoke := func(operation, data string) (*dapr.BindingEvent, error) {
			request := &dapr.InvokeBindingRequest{Name: "files", Operation: operation, Data: []byte(data)}
			request.Metadata = map[string]string{"fileName": "a/go.txt", "key": "a/go.txt"}
			return runtime.InvokeBinding(ctx, request)
		}
		must(invoke("create", "some text!"))
		equal(string(must(invoke("get", "")).Data), "some text!")
		must(invoke("delete", ""))
		_, err := invoke("get", "")
		fails(err, "not found")
	})

	step("secrets", func() {
		secret := must(runtime.GetSecret(ctx, "secrets", "password", nil))
		equal(secret, map[string]string{"password": "open sesame"})
		everything := must(runtime.GetBulkSecret(ctx, "secrets", nil))
		equal(everything["db:user"], map[string]string{"db:user": "scott"})
		_, err := runtime.GetSecret(ctx, "secrets", "none", nil)
		fails(err, "none")
	})
}

func configuration(ctx context.Context, runtime dapr.Client) {
	key, writer := "greeting", os.Getenv("CONFIGURATION_WRITER")
	write := func(text string) {
		request := &dapr.InvokeBindingRequest{Name: writer, Operation: "create", Data: []byte(text)}
		request.Metadata = map[string]string{"key": key}
		ok(runtime.InvokeOutputBinding(ctx, request))
	}
	if writer != "" {
		key = "greeting-go-" + need("RUN")
		write("hello||1")
	}

	step("configuration", func() {
		item := must(runtime.GetConfigurationItem(ctx, "configstore", key))
		equal([]string{item.Value, item.Version}, []string{"hello", "1"})
	})

	step("configuration changes", func() {
		changes := make(chan string, 8)
		id := must(runtime.SubscribeConfigurationItems(ctx, "configstore", []string{key},
			func(_ string, items map[string]*dapr.ConfigurationItem) { changes <- items[key].Value }))
		if writer != "" {
			write("good bye||2")
			equal(<-changes, "good bye")
		}
		ok(runtime.UnsubscribeConfigurationItems(ctx, "configstore", id))
	})
}

func lock(ctx context.Context, runtime dapr.Client) {
	resource := "resource-go-" + need("RUN")
	try := func(owner string) bool {
		request := &dapr.LockRequest{ResourceID: resource, LockOwner: owner, ExpiryInSeconds: 20}
		return must(runtime.TryLockAlpha1(ctx, "lockstore", request)).Success
	}
	release := func(owner string) string {
		request := &dapr.UnlockRequest{ResourceID: resource, LockOwner: owner}
		return must(runtime.UnlockAlpha1(ctx, "lockstore", request)).Status
	}
	step("lock", func() {
		equal([]bool{try("me"), try("you")}, []bool{true, false})
		found := []string{release("you"), release("me"), release("me")}
		equal(found, []string{"LOCK_BELONGS_TO_OTHERS", "SUCCESS", "LOCK_DOES_NOT_EXIST"})
	})
}

func cryptography(ctx context.Context, runtime dapr.Client) {
	step("encrypt and decrypt", func() {
		plain := make([]byte, 300_000)
		must(rand.Read(plain))
		options := dapr.EncryptOptions{ComponentName: "keys", KeyName: "mykey", KeyWrapAlgorithm: "AES"}
		encrypted := must(runtime.Encrypt(ctx, bytes.NewReader(plain), options))
		document := must(io.ReadAll(encrypted))
		equal(string(document[:15]), "dapr.io/enc/v1\n")
		decrypted := must(runtime.Decrypt(ctx, bytes.NewReader(document), dapr.DecryptOptions{ComponentName: "keys"}))
		equal(bytes.Equal(must(io.ReadAll(decrypted)), plain), true)
	})
}

func conversation(ctx context.Context, runtime dapr.Client) {
	step("conversation", func() {
		text := "repeat me"
		content := []*dapr.ConversationMessageContentAlpha2{{Text: &text}}
		message := &dapr.ConversationMessageAlpha2{
			ConversationMessageOfUser: &dapr.ConversationMessageOfUserAlpha2{Content: content},
		}
		inputs := []*dapr.ConversationInputAlpha2{{Messages: []*dapr.ConversationMessageAlpha2{message}}}
		answer := must(runtime.ConverseAlpha2(ctx, dapr.ConversationRequestAlpha2{Name: "echo", Inputs: inputs}))
		equal(answer.Outputs[0].Choices[0].Message.Content, text)
	})
}
