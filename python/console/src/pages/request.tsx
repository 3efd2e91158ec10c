/** One generation: what came of it, attempt by attempt, why it went there, and what it cost. */
import { useQuery } from '@tanstack/react-query';
import { Link, useParams, useSearch } from '@tanstack/react-router';
import { get } from '../api/client';
import type { Generation, RequestData } from '../api/types';
import { exact, nano } from '../format/money';
import { count, duration, speed } from '../format/number';
import { useTitle } from '../shell/title';
import { useMay, useSetSearch } from '../state/hooks';
import { At, Badge, Code, Copy, classes, Facts, Name, Usd, ui } from '../ui/basics';
import { Empty, Loaded } from '../ui/states';
import { Tabs } from '../ui/tabs';
import { Content } from './content';
import { lines } from './definition';
import { Explain } from './recall';
import s from './request.module.css';
import { ProviderPath, promptTokens, Status } from './requests';

export function RequestPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const { tab = 'summary' } = useSearch({ strict: false }) as { tab?: string };
  const setSearch = useSetSearch();
  const heading = useTitle('Request');
  const query = useQuery({
    queryKey: ['request', id],
    queryFn: ({ signal }) => get<RequestData>(`/admin/requests/${encodeURIComponent(id)}`, {}, signal),
    placeholderData: undefined,
    staleTime: Number.POSITIVE_INFINITY,
  });
  const mayExplain = useMay('member');
  const mayRead = useMay('admin');
  return (
    <section className={s.panel} aria-label="Request">
      <div className={ui.spread}>
        <h1 tabIndex={-1} ref={heading} className={ui.mono}>
          {id}
        </h1>
        <div className={ui.row}>
          <Copy text={id} label="Copy id" />
          <Link to="/requests" search={((before: object) => ({ ...before, tab: undefined })) as never}>
            Close
          </Link>
        </div>
      </div>
      <Loaded query={query} height={320}>
        {(found) => (
          <Tabs
            label="About this request"
            value={tab}
            onChange={(next) => setSearch({ tab: next === 'summary' ? undefined : next }, true)}
            tabs={[
              { id: 'summary', label: 'Summary', content: () => <Summary of={found} /> },
              {
                id: 'attempts',
                label: `Attempts (${found.data.attempts.length})`,
                content: () => <Attempts of={found} />,
              },
              { id: 'cost', label: 'Cost', content: () => <Cost of={found} /> },
              ...(mayExplain ? [{ id: 'explain', label: 'Explain', content: () => <Explain row={found.data} /> }] : []),
              {
                id: 'losses',
                label: `Losses (${found.data.translation_losses.length + found.data.translation_losses_more})`,
                content: () => <Losses row={found.data} />,
              },
              ...(mayRead
                ? [{ id: 'content', label: 'Content', content: () => <Content key={id} row={found.data} /> }]
                : []),
              {
                id: 'raw',
                label: 'Raw',
                content: () => <Code label="The record">{lines(found)}</Code>,
              },
            ]}
          />
        )}
      </Loaded>
    </section>
  );
}

function Summary({ of: { data: row, timings } }: { of: RequestData }) {
  const writing = timings.content_ms === null ? null : timings.total_ms - timings.content_ms;
  const filter = (name: string, value: string | number, shown: string) => (
    <>
      <Name>{shown}</Name>{' '}
      <Link to="/requests" search={{ [name]: String(value) } as never} className={ui.muted!}>
        all of it
      </Link>
    </>
  );
  return (
    <Facts
      of={[
        ['Outcome', <Status key="s" row={row} />],
        row.error !== '' && [
          'Error',
          <span key="e" className={ui.bad}>
            <Name most={300}>{row.error}</Name>
          </span>,
        ],
        ['Settled', <At key="a" at={row.settled_at} />],
        ['Started', <At key="b" at={row.started_at} />],
        ['Model', row.model ? filter('model', row.model, row.model) : '—'],
        row.requested_model !== row.model && ['Asked for', <Name key="r">{row.requested_model}</Name>],
        ['Providers', <ProviderPath key="p" row={row} />],
        ['Key', row.key.name ? filter('key', row.key_id, row.key.name) : '—'],
        [
          'Tokens in',
          `${count(promptTokens(row))}${row.cache_read_tokens ? `, ${count(row.cache_read_tokens)} of them from the cache` : ''}`,
        ],
        [
          'Tokens out',
          `${count(row.completion_tokens)}${row.reasoning_tokens ? `, ${count(row.reasoning_tokens)} of them thoughts` : ''}`,
        ],
        ['Cost', <Usd key="c" usd={row.charged_usd} />],
        ['First content', duration(timings.content_ms)],
        ['Total', duration(timings.total_ms)],
        ['Speed after it', row.streamed && writing ? speed((row.completion_tokens * 1000) / writing) : '—'],
        ['Own share', duration(timings.own_ms)],
        [
          'Dialect',
          `${row.dialect}${row.upstream_dialect && row.upstream_dialect !== row.dialect ? ` → ${row.upstream_dialect}` : ''}, ${row.manner}, ${row.streamed ? 'streamed' : 'whole'}`,
        ],
        [
          'Finish',
          row.finish_reason ? (
            <Name key="f" most={200}>
              {`${row.finish_reason}${row.native_finish_reason && row.native_finish_reason !== row.finish_reason ? ` (${row.native_finish_reason})` : ''}`}
            </Name>
          ) : (
            '—'
          ),
        ],
        row.preset !== '' && [
          'Preset',
          <Name key="pr">{`${row.preset}${row.preset_version ? `, version ${row.preset_version}` : ''}`}</Name>,
        ],
        row.split !== '' && ['Split', <Name key="sp">{`${row.split}, arm ${row.arm}`}</Name>],
        row.session_id !== '' && ['Session', filter('session', row.session_id, row.session_id)],
        row.end_user !== '' && ['End user', filter('end_user', row.end_user, row.end_user)],
        (row.title !== '' || row.referer !== '') && [
          'App',
          <Name key="t">{[row.title, row.referer].filter(Boolean).join(', ')}</Name>,
        ],
        row.user_agent !== '' && ['User agent', <Name key="u">{row.user_agent}</Name>],
        row.upstream_id !== '' && [
          "Provider's id",
          <span key="i" className={ui.mono}>
            <Name most={200}>{row.upstream_id}</Name>
          </span>,
        ],
        row.flags.length > 0 && ['Marks', row.flags.map((flag) => <Badge key={flag}>{flag}</Badge>)],
        [
          'Content',
          row.flags.includes('content')
            ? 'Logged. An admin may open it, which the audit log notes.'
            : 'Not kept: prompt and reply were not logged.',
        ],
      ]}
    />
  );
}

/** How the time went. Attempts that lost a race overlap with the one that answered; what failed came before. */
function Attempts({ of: { data: row, timings } }: { of: RequestData }) {
  const total = Math.max(timings.total_ms, ...row.attempts.map((attempt) => attempt.latency_us / 1000), 0.001);
  const at = (ms: number) => `${(Math.min(ms, total) / total) * 100}%`;
  let failed = 0;
  const bars = row.attempts
    .filter((attempt) => !attempt.flags.includes('shadow'))
    .map((attempt) => {
      const length = attempt.latency_us / 1000;
      const answered = !attempt.error;
      const start = answered ? (timings.sent_ms ?? failed) : failed;
      if (!answered) failed = Math.min(total, failed + length);
      return { attempt, start, length: Math.min(length, total - start), answered };
    });
  if (row.attempts.length === 0) return <Empty title="Nobody was asked: it ended before that." />;
  return (
    <>
      <div className={s.fall} aria-hidden="true">
        {bars.map(({ attempt, start, length, answered }) => (
          <div key={attempt.n} className={s.lane}>
            <span className={s.laneName}>
              #{attempt.n + 1} <Name most={18}>{attempt.provider}</Name>
            </span>
            <span className={s.track}>
              {answered && timings.content_ms !== null ? (
                <>
                  <span
                    className={s.wait}
                    style={{ left: at(start), width: at(Math.max(0, timings.content_ms - start)) }}
                    title={`waits until ${duration(timings.content_ms)}`}
                  />
                  <span
                    className={s.stream}
                    style={{ left: at(timings.content_ms), width: at(timings.total_ms - timings.content_ms) }}
                    title={`content until ${duration(timings.total_ms)}`}
                  />
                </>
              ) : (
                <span
                  className={classes(answered ? s.wait : s.fail)}
                  style={{ left: at(start), width: at(length) }}
                  title={duration(length)}
                />
              )}
            </span>
          </div>
        ))}
        <div className={s.axis}>
          <span>0</span>
          <span>{duration(total)}</span>
        </div>
      </div>
      <div className={ui.row}>
        <span className={ui.muted}>
          Grey: waiting · coloured: content comes · red: failed. Failed ones are drawn one behind the other, as long as
          each took.
        </span>
      </div>
      <div className={ui.scroll} tabIndex={0} role="region" aria-label="Attempts">
        <table className={ui.table}>
          <caption className="sr-only">Attempts and times</caption>
          <thead>
            <tr>
              <th scope="col">#</th>
              <th scope="col">Provider</th>
              <th scope="col">Model there</th>
              <th scope="col">Result</th>
              <th scope="col" className={ui.num}>
                Took
              </th>
              <th scope="col" className={ui.num}>
                Cost
              </th>
            </tr>
          </thead>
          <tbody>
            {row.attempts.map((attempt) => (
              <tr key={attempt.n}>
                <td>{attempt.n + 1}</td>
                <td>
                  <Name>{attempt.provider}</Name> {attempt.flags.includes('shadow') && <Badge>shadow</Badge>}
                </td>
                <td>
                  <Name>{attempt.upstream_model}</Name>
                </td>
                <td className={attempt.error ? ui.bad : ui.good}>
                  {attempt.status || ''} <Name most={300}>{attempt.error || 'answered'}</Name>{' '}
                  {attempt.service_tier && `(${attempt.service_tier})`}
                </td>
                <td className={ui.num}>{duration(attempt.latency_us / 1000)}</td>
                <td className={ui.num}>
                  <Usd usd={attempt.upstream_cost_usd} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <Facts
        of={[
          ['Sent', duration(timings.sent_ms)],
          ['Head of the reply', duration(timings.head_ms)],
          ['First content', duration(timings.content_ms)],
          ['Settled', duration(timings.total_ms)],
        ]}
      />
    </>
  );
}

function Cost({ of: { data: row, cost } }: { of: RequestData }) {
  return (
    <>
      {cost.lines.length > 0 ? (
        <div className={ui.scroll} tabIndex={0} role="region" aria-label="Table">
          <table className={ui.table}>
            <caption className="sr-only">Lines of the cost</caption>
            <thead>
              <tr>
                <th scope="col">What</th>
                <th scope="col" className={ui.num}>
                  Count
                </th>
                <th scope="col" className={ui.num}>
                  Dollars each
                </th>
                <th scope="col" className={ui.num}>
                  Amount
                </th>
              </tr>
            </thead>
            <tbody>
              {cost.lines.map((line) => (
                <tr key={line.what}>
                  <td>{line.what.replaceAll('_', ' ')}</td>
                  <td className={ui.num}>{count(line.count)}</td>
                  <td className={ui.num}>${line.usd_each}</td>
                  <td className={ui.num}>${line.usd}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <Empty title="No lines: the endpoint that answered is not in the configuration any more, or nobody answered." />
      )}
      <p className={ui.note}>
        {cost.exact
          ? 'The lines add up to what was recorded, rounded up once to a nano-dollar.'
          : cost.lines.length > 0
            ? 'The lines are by the present price and do not add up to what was recorded: the price changed since, the provider reported its own cost, or attempts that lost are part of it. What was recorded counts.'
            : 'What was recorded counts.'}
      </p>
      <Facts
        of={[
          ['Charged', exact(nano(cost.charged_usd))],
          ['Cost upstream', exact(nano(cost.upstream_cost_usd))],
          ['Reserved before', exact(nano(cost.reserved_usd))],
          ['Price version', String(row.price_version)],
        ]}
      />
    </>
  );
}

function Losses({ row }: { row: Generation }) {
  if (row.translation_losses.length === 0)
    return <Empty title="Nothing was lost: what the client said reached the provider, and the other way round." />;
  return (
    <div className={ui.scroll} tabIndex={0} role="region" aria-label="Table">
      <table className={ui.table}>
        <thead>
          <tr>
            <th scope="col">Severity</th>
            <th scope="col">Where</th>
            <th scope="col">Why</th>
          </tr>
        </thead>
        <tbody>
          {row.translation_losses.map((loss, index) => (
            <tr key={`${loss.path} ${index}`}>
              <td className={loss.severity === 'hint' ? ui.muted : ui.warn}>{loss.severity}</td>
              <td className={ui.mono}>
                <Name most={120}>{loss.path}</Name>
              </td>
              <td>
                <Name most={300}>{loss.reason}</Name>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {row.translation_losses_more > 0 && <p>and {row.translation_losses_more} more</p>}
    </div>
  );
}
