//! With the feature `cluster`: compiles what is used of etcd's API, without protoc.

#[cfg(feature = "cluster")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    const PROTO: &str = "src/etcd/rpc.proto";
    println!("cargo:rerun-if-changed={PROTO}");
    let set = protox::compile([PROTO], ["src/etcd"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .compile_fds(set)?;
    Ok(())
}

#[cfg(not(feature = "cluster"))]
fn main() {}
