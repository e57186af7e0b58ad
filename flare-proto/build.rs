//! Compiles the contract without protoc. Writes, beside the generated code, the descriptor set with its custom options.

use std::{env, fs, path::PathBuf};

use prost::Message;
use prost_reflect::{DescriptorPool, Value};
use prost_types::{
    DescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

/// `flare.options.v1.raw`: the field's message is kept as the sender's bytes.
const RAW: &str = "flare.options.v1.raw";

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script its folder by a variable"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let root = PathBuf::from("proto");
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();

    let mut compiler = protox::Compiler::new([&root])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(&files)?;
    // Only this encoding keeps custom options.
    let encoded = compiler.encode_file_descriptor_set();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("flare.binpb"), &encoded)?;

    let pool = DescriptorPool::decode(encoded.as_slice())?;
    let mut set = FileDescriptorSet::decode(encoded.as_slice())?;
    for file in &mut set.file {
        let package = file.package().to_owned();
        for message in &mut file.message_type {
            let name = format!("{package}.{}", message.name());
            keep_raw(message, &name, &pool);
        }
    }

    tonic_prost_build::configure()
        .bytes(".")
        .build_transport(true)
        .include_file("flare.rs")
        .compile_well_known_types(false)
        .compile_fds(set)?;
    Ok(())
}

fn collect(folder: &PathBuf, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            files.push(path);
        }
    }
    Ok(())
}

/// Turns the fields marked `raw` into `bytes`, which look the same on the wire.
fn keep_raw(message: &mut DescriptorProto, name: &str, pool: &DescriptorPool) {
    let raw = pool.get_extension_by_name(RAW);
    let descriptor = pool.get_message_by_name(name);
    for field in &mut message.field {
        let marked = raw
            .as_ref()
            .zip(descriptor.as_ref())
            .is_some_and(|(raw, descriptor)| {
                descriptor
                    .get_field_by_name(field.name())
                    .is_some_and(|it| *it.options().get_extension(raw) == Value::Bool(true))
            });
        if marked {
            field.set_type(Type::Bytes);
            field.type_name = None;
            if field.label() != Label::Repeated && field.oneof_index.is_none() {
                field.set_label(Label::Optional);
            }
        }
    }
    for nested in &mut message.nested_type {
        let nested_name = format!("{name}.{}", nested.name());
        keep_raw(nested, &nested_name, pool);
    }
}
