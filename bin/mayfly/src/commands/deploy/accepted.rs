use clap::Args;

/// Flags that make a difference elsewhere and are taken here, so that scripts work as they are.
#[derive(Args, Debug, Default)]
pub(super) struct AcceptedFlags {
    #[arg(long, hide = true)]
    now: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    dns_checks: Option<Option<String>>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, alias = "http-failover")]
    https_failover: Option<Option<String>>,
    #[arg(long, hide = true, value_name = "DURATION")]
    lease_timeout: Option<String>,
    #[arg(long, hide = true, value_name = "COUNT")]
    deploy_retries: Option<String>,
    #[arg(long, hide = true, value_name = "SIZE")]
    build_context_warn_size: Option<String>,
}

impl AcceptedFlags {
    /// What was asked for and makes no difference, and why. Those whose wish is fulfilled anyhow need no word.
    pub(super) fn notes(&self) -> Vec<&'static str> {
        let lease = "Note: --lease-timeout makes no difference: the cloud itself holds the leases, until the release is at its end.";
        self.lease_timeout.iter().map(|_| lease).collect()
    }
}
