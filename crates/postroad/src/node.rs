//! A node: all four roles in one process, or one of them alone.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use postroad_service::clock::SystemClock;
use postroad_service::drain::Drain;
use postroad_service::node::Node;
use postroad_service::role;
use postroad_types::Role;

/// `postroad run ROLE`
pub fn run(role: Role, config: &Path) -> ExitCode {
    match role {
        Role::Dns => role::serve(role, config, postroad_dns::run),
        Role::Mta => role::serve(role, config, postroad_mta::run),
        Role::Mda => role::serve(role, config, postroad_mda::run),
        Role::Mra => role::serve(role, config, postroad_mra::run),
        Role::Operator => {
            role::fail(role::EX_SOFTWARE, "operator is no service; expected dns, mta, mda or mra")
        }
    }
}

/// `postroad up`
pub fn up(config: &Path) -> ExitCode {
    role::process(config, async |config, front| {
        // What clients speak to ends first; what it needs is there until then.
        let back = Drain::new(front.grace());
        let nodes = match Node::together(config, Arc::new(SystemClock::new()), &front, &back) {
            Ok(nodes) => nodes,
            Err(error) => return role::fail(role::EX_UNAVAILABLE, error),
        };
        let mut tasks = tokio::task::JoinSet::new();
        for (role, node) in nodes {
            tasks.spawn(async move {
                let outcome = match role {
                    Role::Dns => postroad_dns::run(node).await.map_err(|error| error.to_string()),
                    Role::Mta => postroad_mta::run(node).await.map_err(|error| error.to_string()),
                    Role::Mda => postroad_mda::run(node).await.map_err(|error| error.to_string()),
                    Role::Mra => postroad_mra::run(node).await.map_err(|error| error.to_string()),
                    Role::Operator => Ok(()),
                };
                (role, outcome)
            });
        }
        let mut code = ExitCode::SUCCESS;
        let mut clients_served = 2;
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok((role, Ok(()))) => {
                    tracing::info!(%role, "stopped");
                    clients_served -= i32::from(matches!(role, Role::Mta | Role::Mra));
                }
                Ok((role, Err(error))) => {
                    code = role::fail(role::EX_SOFTWARE, format_args!("{role} cannot go on: {error}"));
                    front.stop();
                    clients_served -= i32::from(matches!(role, Role::Mta | Role::Mra));
                }
                Err(error) => {
                    code = role::fail(role::EX_SOFTWARE, format_args!("a role broke: {error}"));
                    front.cut();
                    back.cut();
                }
            }
            if clients_served == 0 {
                back.stop();
            }
        }
        front.finish().await;
        back.finish().await;
        code
    })
}
