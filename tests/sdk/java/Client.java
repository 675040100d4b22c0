import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.DaprPreviewClient;
import io.dapr.client.SubscriptionListener;
import io.dapr.client.domain.BulkPublishEntry;
import io.dapr.client.domain.BulkPublishRequest;
import io.dapr.client.domain.CloudEvent;
import io.dapr.client.domain.ConversationInputAlpha2;
import io.dapr.client.domain.ConversationMessageContent;
import io.dapr.client.domain.ConversationRequestAlpha2;
import io.dapr.client.domain.DecryptRequestAlpha1;
import io.dapr.client.domain.EncryptRequestAlpha1;
import io.dapr.client.domain.State;
import io.dapr.client.domain.StateOptions;
import io.dapr.client.domain.TransactionalStateOperation;
import io.dapr.client.domain.UnlockResponseStatus;
import io.dapr.client.domain.UserMessage;
import io.dapr.config.Properties;
import io.dapr.utils.TypeRef;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** What a program without a server of its own does with the SDK. */
final class Client {
  private static final StateOptions FIRST_WRITE =
      new StateOptions(StateOptions.Consistency.STRONG, StateOptions.Concurrency.FIRST_WRITE);

  private final DaprClient dapr = new DaprClientBuilder().build();
  private final DaprPreviewClient preview = new DaprClientBuilder().buildPreviewClient();

  public static void main(String[] args) throws Exception {
    Client client = new Client();
    Steps.step("wait for the sidecar", () -> client.dapr.waitForSidecar(10_000).block());
    client.metadata();
    List<String> names = client.dapr.getMetadata().block().getComponents().stream().map(it -> it.getName()).toList();
    for (String store : List.of("statestore", "memorystore")) {
      if (names.contains(store)) {
        client.state(store);
        client.manyStates(store);
      }
    }
    client.messages();
    client.bindingsAndSecrets();
    client.configuration();
    client.lock();
    client.cryptography();
    client.conversation();
    Steps.step("shutdown", () -> client.dapr.shutdown().block());
    Steps.finish();
  }

  private void metadata() {
    Steps.step("metadata", () -> {
      var found = dapr.getMetadata().block();
      Steps.equal(found.getId(), Steps.need("APP_ID"));
      var store = found.getComponents().stream().filter(it -> it.getName().equals("statestore")).findFirst().get();
      Steps.check(store.getCapabilities().contains("ETAG"), store.getCapabilities().toString());
    });

    Steps.step("a wrong API token", () -> {
      try (var stranger = new DaprClientBuilder().withPropertyOverride(Properties.API_TOKEN, "wrong").build()) {
        Steps.fails("unauthenticated", () -> stranger.getMetadata().block());
      }
    });
  }

  private String value(String store, String key) {
    return dapr.getState(store, key, String.class).block().getValue();
  }

  private void state(String store) {
    Steps.step(store + ": save, get, delete", () -> {
      Steps.equal(value(store, "k"), null);
      dapr.saveState(store, "k", "v1").block();
      Steps.equal(value(store, "k"), "v1");
      dapr.saveState(store, "bytes", new byte[] {0, -1, 7}).block();
      byte[] bytes = dapr.getState(store, "bytes", byte[].class).block().getValue();
      Steps.check(Arrays.equals(bytes, new byte[] {0, -1, 7}), Arrays.toString(bytes));
      dapr.deleteState(store, "k").block();
      Steps.equal(value(store, "k"), null);
    });

    Steps.step(store + ": etags", () -> {
      dapr.saveState(store, "k", "v1").block();
      String old = dapr.getState(store, "k", String.class).block().getEtag();
      dapr.saveState(store, "k", old, "v2", FIRST_WRITE).block();
      Steps.fails("aborted", () -> dapr.saveState(store, "k", old, "v3", FIRST_WRITE).block());
      Steps.fails("aborted", () -> dapr.deleteState(store, "k", old, FIRST_WRITE).block());
      Steps.equal(value(store, "k"), "v2");
      String now = dapr.getState(store, "k", String.class).block().getEtag();
      dapr.deleteState(store, "k", now, FIRST_WRITE).block();
      Steps.equal(value(store, "k"), null);
    });

    Steps.step(store + ": time to live", () -> {
      dapr.saveState(store, "short", null, "lived", Map.of("ttlInSeconds", "3"), null).block();
      Steps.equal(value(store, "short"), "lived");
      Steps.eventually("it expires", () -> value(store, "short") == null);
    });

    Steps.step("an unknown state store", () -> Steps.fails("nowhere", () -> value("nowhere", "k")));
  }

  private void manyStates(String store) {
    Steps.step(store + ": bulk", () -> {
      dapr.saveBulkState(store, List.of(new State<>("a", "1", (String) null), new State<>("b", "2", (String) null))).block();
      var items = dapr.getBulkState(store, List.of("a", "b", "none"), String.class).block();
      for (State<String> item : items) {
        Steps.equal(item.getValue(), Map.of("a", "1", "b", "2").get(item.getKey()));
      }
      Steps.equal(items.size(), 3);
    });

    Steps.step(store + ": transaction", () -> {
      var upsert = TransactionalStateOperation.OperationType.UPSERT;
      var delete = TransactionalStateOperation.OperationType.DELETE;
      dapr.executeStateTransaction(store, List.of(
          new TransactionalStateOperation<>(upsert, new State<>("a", "x", (String) null)),
          new TransactionalStateOperation<>(delete, new State<String>("b")))).block();
      Steps.equal(Arrays.asList(value(store, "a"), value(store, "b")), Arrays.asList("x", null));
    });
  }

  /** Notes events; the one that says `again` is asked for again when it comes first. */
  private static final class Listener implements SubscriptionListener<String> {
    final BlockingQueue<CloudEvent<String>> events = new LinkedBlockingQueue<>();
    final AtomicInteger again = new AtomicInteger();

    @Override
    public Mono<Status> onEvent(CloudEvent<String> event) {
      events.add(event);
      boolean isFirst = event.getData().equals("again") && again.getAndIncrement() == 0;
      return Mono.just(isFirst ? Status.RETRY : Status.SUCCESS);
    }

    @Override
    public void onError(RuntimeException error) {
      error.printStackTrace();
    }

    CloudEvent<String> next() throws InterruptedException {
      CloudEvent<String> event = events.poll(30, TimeUnit.SECONDS);
      Steps.check(event != null, "no event");
      return event;
    }
  }

  private void messages() throws Exception {
    String topic = "stream-java-" + Steps.RUN;
    Listener listener = new Listener();
    try (var subscription = preview.subscribeToEvents("pubsub", topic, listener, TypeRef.STRING)) {
      Steps.step("streamed subscription", () -> {
        dapr.publishEvent("pubsub", topic, "one").block();
        CloudEvent<String> event = listener.next();
        Steps.equal(event.getData(), "one");
        Steps.equal(List.of(event.getTopic(), event.getPubsubName()), List.of(topic, "pubsub"));
        dapr.publishEvent("pubsub", topic, "again").block();
        Steps.equal(listener.next().getId(), listener.next().getId());
      });

      Steps.step("bulk publish", () -> {
        var entries = List.of(entry("1", "x"), entry("2", "y"));
        var answer = dapr.publishEvents(new BulkPublishRequest<>("pubsub", topic, entries)).block();
        Steps.equal(answer.getFailedEntries().size(), 0);
        listener.next();
        listener.next();
      });
    }
    Steps.step("publishing to an unknown component",
        () -> Steps.fails("nowhere", () -> dapr.publishEvent("nowhere", topic, "x").block()));
  }

  /** The listener reads JSON only. */
  private static BulkPublishEntry<String> entry(String id, String text) {
    return new BulkPublishEntry<>(id, text, "application/json");
  }

  private void bindingsAndSecrets() {
    Steps.step("output binding", () -> {
      Map<String, String> name = Map.of("fileName", "a/java.txt", "key", "a/java.txt");
      dapr.invokeBinding("files", "create", bytes("some text!"), name).block();
      Steps.equal(text(dapr.invokeBinding("files", "get", new byte[0], name).block()), "some text!");
      dapr.invokeBinding("files", "delete", new byte[0], name).block();
      Steps.fails("not found", () -> dapr.invokeBinding("files", "get", new byte[0], name).block());
    });

    Steps.step("secrets", () -> {
      Steps.equal(dapr.getSecret("secrets", "password").block(), Map.of("password", "open sesame"));
      Steps.equal(dapr.getBulkSecret("secrets").block().get("db:user"), Map.of("db:user", "scott"));
      Steps.fails("none", () -> dapr.getSecret("secrets", "none").block());
    });
  }

  private void configuration() {
    String writer = Steps.need("CONFIGURATION_WRITER");
    String key = writer.isEmpty() ? "greeting" : "greeting-java-" + Steps.RUN;
    if (!writer.isEmpty()) {
      dapr.invokeBinding(writer, "create", bytes("hello||1"), Map.of("key", key)).block();
    }

    Steps.step("configuration", () -> {
      var item = dapr.getConfiguration("configstore", key).block();
      Steps.equal(List.of(item.getValue(), item.getVersion()), List.of("hello", "1"));
    });

    Steps.step("configuration changes", () -> {
      AtomicReference<String> id = new AtomicReference<>();
      AtomicReference<String> seen = new AtomicReference<>();
      Disposable watch = dapr.subscribeConfiguration("configstore", key).subscribe(answer -> {
        id.set(answer.getSubscriptionId());
        answer.getItems().values().forEach(item -> seen.set(item.getValue()));
      });
      Steps.eventually("the watch stands", () -> id.get() != null);
      if (!writer.isEmpty()) {
        dapr.invokeBinding(writer, "create", bytes("good bye||2"), Map.of("key", key)).block();
        Steps.eventually("the change arrives", () -> "good bye".equals(seen.get()));
      }
      Steps.equal(dapr.unsubscribeConfiguration(id.get(), "configstore").block().getIsUnsubscribed(), true);
      watch.dispose();
    });
  }

  private void lock() {
    String resource = "resource-java-" + Steps.RUN;
    Steps.step("lock", () -> {
      Steps.equal(preview.tryLock("lockstore", resource, "me", 20).block(), true);
      Steps.equal(preview.tryLock("lockstore", resource, "you", 20).block(), false);
      var found = List.of("you", "me", "me").stream()
          .map(owner -> preview.unlock("lockstore", resource, owner).block()).toList();
      Steps.equal(found, List.of(UnlockResponseStatus.LOCK_BELONG_TO_OTHERS, UnlockResponseStatus.SUCCESS,
          UnlockResponseStatus.LOCK_UNEXIST));
    });
  }

  private void cryptography() {
    Steps.step("encrypt and decrypt", () -> {
      byte[] plain = new byte[300_000];
      new Random(1).nextBytes(plain);
      Flux<byte[]> parts = Flux.just(Arrays.copyOf(plain, 7), Arrays.copyOfRange(plain, 7, plain.length));
      byte[] document = whole(preview.encrypt(new EncryptRequestAlpha1("keys", parts, "mykey", "AES")));
      Steps.equal(text(Arrays.copyOf(document, 15)), "dapr.io/enc/v1\n");
      byte[] found = whole(preview.decrypt(new DecryptRequestAlpha1("keys", Flux.just(document))));
      Steps.check(Arrays.equals(found, plain), "it differs");
    });
  }

  private void conversation() {
    Steps.step("conversation", () -> {
      var message = new UserMessage(List.of(new ConversationMessageContent("repeat me")));
      var inputs = List.of(new ConversationInputAlpha2(List.of(message)));
      var answer = preview.converseAlpha2(new ConversationRequestAlpha2("echo", inputs)).block();
      Steps.equal(answer.getOutputs().get(0).getChoices().get(0).getMessage().getContent(), "repeat me");
    });
  }

  private static byte[] whole(Flux<byte[]> parts) {
    return parts.reduce(new ByteArrayOutputStream(), (all, part) -> {
      all.writeBytes(part);
      return all;
    }).block().toByteArray();
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static String text(byte[] bytes) {
    return new String(bytes, StandardCharsets.UTF_8);
  }
}
