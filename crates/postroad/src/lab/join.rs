//! How to join in: ready lines for the usual mail programs.

use super::plan::Plan;
use super::say;

pub fn print(plan: &Plan) {
    let ports = plan.ports;
    let (alpha, beta) = (plan.alpha(), plan.beta());
    let (alice, bob) = (&alpha.people[0], &beta.people[0]);
    let ca = plan.ca_file();
    let ca = ca.display();

    say::title("The lab is up until Ctrl-C. Join in:");
    for domain in &plan.domains {
        println!("  {}", say::bold(&domain.name));
        println!(
            "    mail in    {}: SMTP {}, submission {} (STARTTLS) and {} (TLS)",
            domain.mta, ports.smtp, ports.submission, ports.submissions
        );
        println!(
            "    mail out   {}: IMAP {} (STARTTLS) and {} (TLS), POP3 {} (STLS) and {} (TLS)",
            domain.mra, ports.imap, ports.imaps, ports.pop3, ports.pop3s
        );
        println!(
            "    DNS        {} resolver, {} authoritative, port {}",
            domain.resolver, domain.ns, ports.dns
        );
        for person in &domain.people {
            println!("    account    {:<18} password {}", person.address, person.password);
        }
    }
    println!("  CA           {ca}");
    println!("  all of it    {}", plan.lab_json().display());

    println!("\n  {}", say::dim("# alice writes to bob"));
    println!(
        "  swaks --server {} --port {} --tls --tls-verify --tls-ca-path {ca} --auth PLAIN --auth-user {} --auth-password {} \
         --from {} --to {}",
        alpha.mta, ports.submission, alice.address, alice.password, alice.address, bob.address
    );
    println!("  {}", say::dim("# bob's newest mail"));
    println!(
        "  curl -s --cacert {ca} --resolve mx.beta.test:{}:{} -u {}:{} 'imaps://mx.beta.test:{}/INBOX;MAILINDEX=*'",
        ports.imaps, beta.mra, bob.address, bob.password, ports.imaps
    );
    println!(
        "  {}",
        say::dim("# bob's mailbox in a mail program (it asks whether to trust the lab's certificate)")
    );
    println!(
        "  mutt -e 'set ssl_ca_certificates_file={ca}; set ssl_verify_host=no' -f imaps://{}:{}@{}:{}/",
        bob.address.replace('@', "%40"),
        bob.password,
        beta.mra,
        ports.imaps
    );
    println!("  {}", say::dim("# where beta.test takes its mail, and the root that everything starts from"));
    println!("  dig @{} -p {} beta.test MX", alpha.resolver, ports.dns);
    println!("  dig @{} -p {} test. NS", plan.root, ports.dns);
    println!("  {}", say::dim("# this program knows more"));
    let config = plan.state.join("etc/alpha-mta.toml");
    println!("  postroad -c {} trace --to {}", config.display(), bob.address);
    println!("  postroad -c {} queue list", config.display());
    println!("  postroad -c {} dns query beta.test MX --refresh", config.display());
}
