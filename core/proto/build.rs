//! Turns the `.proto` files into Rust and into a descriptor set, without a system `protoc`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use protox::Compiler;
use protox::prost::Message;

/// Folder that the files' own paths start from; reflection clients see those paths.
const ROOT: &str = "proto";
/// Every file with a service or with messages that no service imports.
const ENTRY_FILES: &[&str] = &[
    "dapr/proto/runtime/v1/dapr.proto",
    "dapr/proto/runtime/v1/appcallback.proto",
    "dapr/proto/internals/v1/service_invocation.proto",
    "mecha/objects/v1/objects.proto",
];
/// Services that others offer us: reflection on our ports must not list them.
const COMPONENT_FILES: &[&str] = &[
    "dapr/proto/components/v1/state.proto",
    "dapr/proto/components/v1/pubsub.proto",
    "dapr/proto/components/v1/bindings.proto",
    "dapr/proto/components/v1/secretstore.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);

    // Comments become the generated items' documentation, but clients of reflection have no use for them.
    let documented = compile(&[ENTRY_FILES, COMPONENT_FILES].concat(), true)?;
    fs::write(out_dir.join("descriptors.bin"), compile(ENTRY_FILES, false)?.encode_to_vec())?;
    fs::write(out_dir.join("components.bin"), compile(COMPONENT_FILES, false)?.encode_to_vec())?;

    tonic_prost_build::configure()
        .bytes(".")
        // The client takes any channel; how to connect is the caller's business.
        .build_transport(false)
        .compile_fds(documented)?;
    Ok(())
}

fn compile(
    files: &[&str],
    with_comments: bool,
) -> Result<tonic_prost_build::FileDescriptorSet, Box<dyn Error>> {
    let mut compiler = Compiler::new([ROOT])?;
    compiler.include_imports(true).include_source_info(with_comments);
    compiler.open_files(files)?;
    Ok(compiler.file_descriptor_set())
}
