//! Lists the statements about findings and compliance. Owns their SQL in this dialect. Face:
//! `finding_statements!`, which puts them before the others. Never holds a value: values are bound.

/// Declares the statements about findings, and those that are given.
macro_rules! finding_statements {
    ($($others:tt)+) => {
        access_statements! {
            /// A tenant of planted findings, when there is none of its id.
            PlantTenant = "INSERT INTO tenants (id, workspace_id, external_id, name, status, stage, created_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING";
            /// New findings.
            InsertFindings = "INSERT INTO findings (", finding_columns!(), ") SELECT ", finding_columns!(),
                " FROM jsonb_to_recordset($1::text::jsonb) AS u (", finding_shape!(), ")";
            /// New findings, unless their tenant has one of the fingerprint.
            AddFindings = "INSERT INTO findings (", finding_columns!(), ") SELECT ", finding_columns!(),
                " FROM jsonb_to_recordset($1::text::jsonb) AS u (", finding_shape!(), ")
                ON CONFLICT (tenant_id, fingerprint) DO NOTHING RETURNING fingerprint";
            /// Findings that change, when they are the versions that were read.
            UpdateFindings = "UPDATE findings f SET severity = u.severity, status = u.status, fingerprint = u.fingerprint,
                    recurrence_key = u.recurrence_key, lineage_key = u.lineage_key, scope_key =
                    u.scope_key, first_seen_at = u.first_seen_at, last_seen_at = u.last_seen_at,
                    times_seen = u.times_seen, reopen_count = u.reopen_count, due_at = u.due_at,
                    owner = u.owner, assignee = u.assignee, evidence = u.evidence,
                    baseline_operation_run_id = u.baseline_operation_run_id,
                    current_operation_run_id = u.current_operation_run_id, resolved_at =
                    u.resolved_at, closed_at = u.closed_at, close_reason = u.close_reason,
                    merged_into = u.merged_into, updated_at = u.updated_at, version = u.version,
                    evidence_hash = u.evidence_hash, title = u.title, message = u.message,
                    remediation = u.remediation, project = u.project, policies = u.policies,
                    overdue_told_at = u.overdue_told_at, subject = u.subject, check_id = u.check_id,
                    severity_rank = u.severity_rank
                FROM jsonb_to_recordset($1::text::jsonb) AS u (", finding_shape!(), ", seen_version bigint)
                WHERE f.id = u.id AND f.version = u.seen_version RETURNING f.id";
            /// Exceptions of what was consolidated.
            MoveExceptions = "UPDATE finding_exceptions e SET finding_id = u.target
                FROM unnest($1::text[], $2::text[]) AS u (gone, target) WHERE e.finding_id = u.gone";
            /// An exception.
            PutException = "INSERT INTO finding_exceptions (", exception_columns!(), ")
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                ON CONFLICT (id) DO UPDATE SET approver = excluded.approver,
                    expires_at = excluded.expires_at, status = excluded.status,
                    evidence_hash = excluded.evidence_hash";
            /// Findings by tenant.
            FindingTotals = "SELECT tenant_id, count(*), count(*) FILTER (WHERE ", lacking!(), ")
                FROM findings WHERE workspace_id = $1
                AND (cardinality($2::text[]) = 0 OR tenant_id = ANY($2))
                GROUP BY tenant_id ORDER BY tenant_id";
            /// A page of a tenant's findings.
            FindingsAfter = "SELECT ", finding_columns!(), " FROM findings
                WHERE workspace_id = $1 AND tenant_id = $2 AND id > $3 ORDER BY id LIMIT $4";
            /// Findings by their fingerprints.
            FindingsByFingerprint = "SELECT ", finding_columns!(), " FROM findings
                WHERE tenant_id = $1 AND fingerprint = ANY($2)";
            /// The exceptions of a finding.
            FindingExceptions = "SELECT ", exception_columns!(), " FROM finding_exceptions
                WHERE finding_id = $1 ORDER BY id";
            /// Whether an exception stands as it was read.
            ExceptionStands = "SELECT 1 FROM finding_exceptions WHERE id = $1 AND status = $2 FOR UPDATE";
            /// Whether a finding has no exception that is asked for or in force.
            FindingIsUnexcepted = "SELECT 1 FROM findings f WHERE f.id = $1 AND NOT EXISTS
                (SELECT 1 FROM finding_exceptions e WHERE e.finding_id = f.id
                    AND e.status IN ('requested', 'approved')) FOR UPDATE";
            /// How subjects stand to policies.
            PutStandings = "INSERT INTO policy_standings (workspace_id, tenant_id, policy, subject, project,
                    standing, since)
                SELECT $1::text, $2::text, u.policy, u.subject, u.project, u.standing, u.since
                FROM jsonb_to_recordset($3::text::jsonb) AS u (policy text, subject text, project text,
                    standing text, since bigint)
                ON CONFLICT (tenant_id, policy, subject) DO UPDATE SET project = excluded.project,
                    standing = excluded.standing, since = excluded.since";
            /// Standings that are over.
            DropStandings = "DELETE FROM policy_standings p
                USING unnest($2::text[], $3::text[]) AS u (policy, subject)
                WHERE p.tenant_id = $1 AND p.policy = u.policy AND p.subject = u.subject";
            /// Exceptions of findings that go.
            PurgeExceptions = "DELETE FROM finding_exceptions WHERE finding_id = ANY($1)";
            /// Findings that are over go.
            PurgeFindings = "DELETE FROM findings WHERE id = ANY($1) AND status IN ('resolved', 'closed')
                RETURNING id";
            /// Findings by their ids.
            FindingsById = "SELECT ", finding_columns!(), " FROM findings WHERE id = ANY($1) ORDER BY id";
            /// Those of a tenant that are not over.
            OpenFindings = "SELECT ", finding_columns!(), " FROM findings
                WHERE tenant_id = $1 AND id > $2 AND status NOT IN ('resolved', 'closed')
                ORDER BY id LIMIT $3";
            /// Those that are overdue.
            OverdueFindings = "SELECT ", finding_columns!(), " FROM findings
                WHERE due_at IS NOT NULL AND overdue_told_at IS NULL AND due_at < $1
                ORDER BY due_at LIMIT $2";
            /// Those that are over.
            FinishedFindings = "SELECT ", finding_columns!(), " FROM findings
                WHERE status IN ('resolved', 'closed') AND updated_at < $1 ORDER BY updated_at LIMIT $2";
            /// The exceptions of findings.
            ExceptionsOf = "SELECT ", exception_columns!(), " FROM finding_exceptions
                WHERE finding_id = ANY($1) ORDER BY id";
            /// Exceptions whose time is over.
            ExceptionsOver = "SELECT ", exception_columns!(), " FROM finding_exceptions
                WHERE status IN ('requested', 'approved') AND expires_at <= $1
                ORDER BY expires_at LIMIT $2";
            /// Open findings, counted.
            FindingCounts = "SELECT type, severity, status, count(*), count(*) FILTER (WHERE due_at < $1)
                FROM findings WHERE status NOT IN ('resolved', 'closed')
                GROUP BY type, severity, status ORDER BY type, severity, status";
            /// The policies that findings and standings of a tenant name.
            PoliciesNamed = "SELECT p.name FROM findings f,
                    LATERAL jsonb_array_elements_text(f.policies::jsonb) AS p (name)
                WHERE f.tenant_id = $1 AND f.status NOT IN ('resolved', 'closed')
                UNION SELECT policy FROM policy_standings WHERE tenant_id = $1";
            /// How all subjects of a tenant stand.
            PolicyStandings = "SELECT tenant_id, policy, subject, project, standing, since
                FROM policy_standings WHERE tenant_id = $1 ORDER BY policy, subject";
            /// How some subjects of a tenant stand.
            StandingsOfSubjects = "SELECT tenant_id, policy, subject, project, standing, since
                FROM policy_standings WHERE tenant_id = $1 AND subject = ANY($2)
                ORDER BY policy, subject";
            /// How many subjects stand how.
            StandingCounts = "SELECT tenant_id, policy, project, standing, count(*) FROM policy_standings
                WHERE cardinality($1::text[]) = 0 OR workspace_id = ANY($1)
                GROUP BY tenant_id, policy, project, standing
                ORDER BY tenant_id, policy, project NULLS FIRST, standing";

            $($others)+
        }
    };
}

pub(super) use finding_statements;
