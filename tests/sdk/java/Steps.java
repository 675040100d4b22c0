import java.util.Objects;
import java.util.concurrent.Callable;

/** Steps of a program: each is named, and the first that fails ends the program with its name. */
final class Steps {
  static final String RUN = need("RUN");

  interface Step {
    void run() throws Exception;
  }

  private Steps() {
  }

  static void step(String name, Step step) {
    try {
      step.run();
    } catch (Throwable failure) {
      failure.printStackTrace();
      System.out.println("FAILED: " + name);
      // Threads of the SDK may still run.
      Runtime.getRuntime().halt(1);
    }
    System.out.println("passed: " + name);
  }

  static void finish() {
    System.out.println("all steps passed");
    System.exit(0);
  }

  static void equal(Object found, Object expected) {
    check(Objects.equals(found, expected), found + " is not " + expected);
  }

  static void check(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError(what);
    }
  }

  /** The error of a call, which must have one with this part in its text. */
  static void fails(String part, Callable<?> call) {
    Object found;
    try {
      found = call.call();
    } catch (Exception error) {
      check(error.toString().toLowerCase().contains(part), "no " + part + " in " + error);
      return;
    }
    throw new AssertionError("an error with " + part + " expected, not " + found);
  }

  /** Asks again and again until there is an answer. */
  static void eventually(String what, Callable<Boolean> probe) throws Exception {
    long end = System.nanoTime() + 30_000_000_000L;
    while (!probe.call()) {
      check(System.nanoTime() < end, "not in time: " + what);
      Thread.sleep(50);
    }
  }

  static String need(String variable) {
    return Objects.requireNonNull(System.getenv(variable), variable);
  }
}
