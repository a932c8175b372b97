//! What the lab asks its services over gRPC: accounts to be made, and what they know of a message.

use std::time::{Duration, Instant};

use postroad_rpc::Channel;
use postroad_rpc::v1;
use postroad_rpc::v1::cache_client::CacheClient;
use postroad_rpc::v1::directory_client::DirectoryClient;
use postroad_types::Role;

use super::plan::{DomainPlan, Plan};
use super::say;
use crate::cli::{self, Services};

/// A step is written beside the mail's way; it may come so much later.
const STEPS_MAX: Duration = Duration::from_secs(5);

/// The domain and its people.
pub async fn make_accounts(plan: &Plan, domain: &DomainPlan) -> Result<(), String> {
    let services = services(plan, domain)?;
    let mut directory = DirectoryClient::new(services.channel(Role::Mda).await?);
    let words = |status: tonic::Status| status.message().to_owned();
    let request = v1::PutDomainRequest { name: domain.name.clone(), catch_all: None };
    directory.put_domain(request).await.map_err(words)?;
    for person in &domain.people {
        let request = v1::PutAccountRequest {
            address: person.address.clone(),
            password: Some(person.password.clone()),
            ..Default::default()
        };
        directory.put_account(request).await.map_err(words)?;
    }
    // Every domain has one (RFC 5321 section 4.5.1).
    if let Some(person) = domain.people.first() {
        let address = format!("postmaster@{}", domain.name);
        let request = v1::PutAliasRequest { address, targets: vec![person.address.clone()] };
        directory.put_alias(request).await.map_err(words)?;
    }
    Ok(())
}

/// How alpha's resolver finds beta's mail host: root, TLD, authoritative server.
pub async fn show_resolution(plan: &Plan) -> Result<(), String> {
    let beta = plan.beta().name.clone();
    let channel = services(plan, plan.alpha())?.channel(Role::Dns).await?;
    let request = v1::ResolveRequest { name: beta.clone(), r#type: "MX".into(), ..Default::default() };
    let reply = CacheClient::new(channel)
        .resolve(request)
        .await
        .map_err(|status| format!("alpha's resolver can't find {beta}: {}", status.message()))?
        .into_inner();
    if reply.rcode != "NOERROR" || reply.answers.is_empty() {
        return Err(format!("alpha's resolver says {} for {beta} MX", reply.rcode));
    }
    say::title(&format!("Where does {beta} take its mail? alpha's resolver asks, from the root down:"));
    say::quote(&cli::resolved(&reply));
    Ok(())
}

/// The timeline of a message over all services of both domains; every step in `wanted` must be in it.
pub async fn show(plan: &Plan, queue_id: &str, wanted: &[&str]) -> Result<(), String> {
    let ends = channels(plan).await?;
    let request = v1::FindStepsRequest { id: queue_id.to_owned(), ..Default::default() };
    let begin = Instant::now();
    let finding = loop {
        let finding = cli::find_steps(&ends, &request).await;
        let has = |name: &&str| finding.steps.iter().any(|step| step.name == **name);
        let lacking: Vec<&str> = wanted.iter().filter(|name| !has(name)).copied().collect();
        if lacking.is_empty() && finding.silent.is_empty() {
            break finding;
        }
        if begin.elapsed() > STEPS_MAX {
            let steps = cli::render_timeline(&finding.steps);
            return Err(format!("the timeline of {queue_id} lacks {}:\n{steps}", lacking.join(", ")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    say::note("its way, step by step:");
    print!("{}", indent(&cli::render_timeline(&finding.steps)));
    Ok(())
}

/// Every service of both domains.
async fn channels(plan: &Plan) -> Result<Vec<(String, Channel)>, String> {
    let mut ends = Vec::new();
    for domain in &plan.domains {
        let services = services(plan, domain)?;
        for role in Role::SERVICES {
            ends.push((format!("{}-{role}", domain.short()), services.channel(role).await?));
        }
    }
    Ok(ends)
}

/// The domain's services, with the operator's certificate.
fn services(plan: &Plan, domain: &DomainPlan) -> Result<Services, String> {
    let name = format!("{}-mta", domain.short());
    let process = plan.processes().into_iter().find(|process| process.name == name);
    let process = process.ok_or_else(|| format!("{name} is not in the plan"))?;
    Services::load(&plan.config_file(&process))
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
