pub mod v1 { tonic::include_proto!("postroad.v1"); }
mod secret;
