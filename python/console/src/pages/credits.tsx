/** Prepaid credit: what accounts were given, what they used, what is held and what is left; every entry, and new ones. */
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import { get, send } from '../api/client';
import type { CreditEntries, CreditEntry, Standing } from '../api/types';
import { useWrite } from '../api/write';
import { exact, nano } from '../format/money';
import { plain } from '../format/text';
import { useSetSearch } from '../state/hooks';
import { At, Badge, Button, Choose, classes, Facts, Name, TextField, Usd, ui } from '../ui/basics';
import { Cancel, Dialog } from '../ui/dialog';
import { Empty, FirstPage, Loaded, Older, said } from '../ui/states';
import s from './budgets.module.css';

const PAGE = 50;
const KEY = ['credits'];

export type Movement =
  | { kind: 'topup' | 'adjustment'; account: string }
  | { kind: 'refund'; account: string; entry: CreditEntry };

export interface MovementDraft {
  usd: string;
  note: string;
  expires: string;
}

/** What is wrong with a draft, by field. */
export function movementMistakes(of: Movement, draft: MovementDraft): Record<string, string> {
  const text = draft.usd.trim();
  const pattern = of.kind === 'adjustment' ? /^-?\d{1,12}(\.\d{1,9})?$/ : /^\d{1,12}(\.\d{1,9})?$/;
  if (!pattern.test(text))
    return {
      usd: `Dollars are expected, such as ${of.kind === 'adjustment' ? '-2.50' : '20'}, with at most nine decimals.`,
    };
  if (nano(text) === 0n) return { usd: '0 changes nothing.' };
  if (of.kind === 'refund' && nano(text) > nano(of.entry.left_usd))
    return { usd: `At most ${exact(nano(of.entry.left_usd))} of this entry can be taken back.` };
  return {};
}

/** What the balance grows by, in nano-dollars. */
export function effect(of: Movement, draft: MovementDraft): bigint {
  return of.kind === 'refund' ? -nano(draft.usd.trim()) : nano(draft.usd.trim());
}

/** Path and body. `name` makes sending it twice the same as sending it once. */
export function movementCall(of: Movement, draft: MovementDraft, name: string): [string, Record<string, unknown>] {
  const body = { usd: draft.usd.trim(), note: draft.note.trim(), external_id: name };
  if (of.kind === 'refund') return [`/admin/credits/${of.entry.id}/refund`, body];
  const expires = of.kind === 'topup' && draft.expires ? `${draft.expires}:00Z` : null;
  return ['/admin/credits', { ...body, kind: of.kind, account: of.account, expires_at: expires }];
}

/** What may be spent now: the balance less what is held. */
export function available(of: Standing): bigint {
  return nano(of.balance_usd) - nano(of.reserved_usd);
}

export function CreditsTab() {
  const { account } = useSearch({ strict: false }) as { account?: string };
  const setSearch = useSetSearch();
  const [moving, move] = useState<Movement | null>(null);
  const [done, say] = useState('');
  const standing = useQuery({
    queryKey: [...KEY, 'standing'],
    queryFn: ({ signal }) => get<CreditEntries>('/admin/credits', { limit: 1 }, signal),
    refetchInterval: 10_000,
  });
  return (
    <>
      <p role="status" className={done ? ui.note : 'sr-only'}>
        {done}
      </p>
      <Loaded query={standing} height={160}>
        {(data) => (
          <>
            <p className={ui.muted}>
              {data.enforced
                ? 'Credit is prepaid here: calls of an account without any are refused.'
                : 'Credit is counted and stops nobody; [credits] enforce = true in fairlead.toml would refuse calls without any.'}
            </p>
            {data.accounts.map((one) => (
              <Balance
                key={one.account}
                of={one}
                enforced={data.enforced}
                onMove={(kind) => move({ kind, account: one.account })}
              />
            ))}
            <section className={ui.card} aria-labelledby="entries">
              <div className={ui.cardHead}>
                <h2 id="entries">Entries</h2>
                <Choose
                  label="Account"
                  value={account ?? ''}
                  choices={[
                    { value: '', label: 'All accounts' },
                    ...data.accounts.map((one) => ({ value: one.account, label: plain(one.account) })),
                  ]}
                  onChange={(name) => setSearch({ account: name || undefined })}
                />
              </div>
              <Entries
                account={account}
                onRefund={(entry) => move({ kind: 'refund', account: entry.account, entry })}
              />
            </section>
            {moving && (
              <Move
                of={moving}
                standing={data.accounts.find((one) => one.account === moving.account)}
                onClose={() => move(null)}
                onDone={(text) => {
                  move(null);
                  say(text);
                }}
              />
            )}
          </>
        )}
      </Loaded>
    </>
  );
}

function Balance(props: { of: Standing; enforced: boolean; onMove: (kind: 'topup' | 'adjustment') => void }) {
  const { of } = props;
  const left = available(of);
  return (
    <section className={ui.card} aria-label={`Credit of ${plain(of.account)}`}>
      <div className={ui.cardHead}>
        <h2>
          <Name most={60}>{of.account}</Name> {props.enforced && left <= 0n && <Badge look="bad">no credit</Badge>}
        </h2>
        <div className={ui.row}>
          <Button look="primary" aria-label={`Top up ${plain(of.account)}`} onClick={() => props.onMove('topup')}>
            Top up
          </Button>
          <Button aria-label={`Adjust ${plain(of.account)}`} onClick={() => props.onMove('adjustment')}>
            Adjust
          </Button>
        </div>
      </div>
      <Facts
        of={[
          ['Funded', exact(nano(of.credits_usd))],
          [
            'Posted',
            <span key="p">
              − {exact(nano(of.usage_usd))} <span className={ui.muted}>charged for calls</span>
            </span>,
          ],
          [
            'Reserved',
            <span key="r">
              − {exact(nano(of.reserved_usd))} <span className={ui.muted}>held for running calls</span>
            </span>,
          ],
          [
            'Balance',
            <strong key="b" className={left < 0n ? ui.bad : undefined}>
              {exact(left)}
            </strong>,
          ],
        ]}
      />
    </section>
  );
}

function Entries({ account, onRefund }: { account: string | undefined; onRefund: (entry: CreditEntry) => void }) {
  const list = useInfiniteQuery({
    queryKey: [...KEY, 'entries', account ?? ''],
    initialPageParam: 0,
    queryFn: ({ pageParam, signal }) =>
      get<CreditEntries>('/admin/credits', { account, limit: PAGE, before: pageParam || undefined }, signal),
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const rows = list.data?.pages.flatMap((page) => page.data) ?? [];
  return (
    <>
      <FirstPage list={list} height={160} />
      {list.data && rows.length === 0 && (
        <Empty title="No credit was given yet.">
          <p>Top up an account; the entry stands here from then on and is never edited.</p>
        </Empty>
      )}
      {rows.length > 0 && (
        <>
          <p className={ui.muted}>Entries are never edited; a mistake is corrected by a further one.</p>
          <div className={ui.scroll} tabIndex={0} role="region" aria-label="Entries, newest first">
            <table className={classes(ui.table, s.table)}>
              <thead>
                <tr>
                  <th scope="col">Time</th>
                  <th scope="col">Account</th>
                  <th scope="col">Kind</th>
                  <th scope="col" className={ui.num}>
                    Amount
                  </th>
                  <th scope="col" className={ui.num}>
                    Funded after
                  </th>
                  <th scope="col">Note</th>
                  <th scope="col">By</th>
                  <th scope="col">
                    <span className="sr-only">Refund</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {rows.map((entry) => (
                  <tr key={entry.id}>
                    <td className={ui.nowrap}>
                      <At at={entry.at} />
                    </td>
                    <td>
                      <Name most={40}>{entry.account}</Name>
                    </td>
                    <td>
                      {entry.kind} <span className={ui.muted}>#{entry.id}</span>
                      {entry.reverses !== null && <div className={ui.muted}>of #{entry.reverses}</div>}
                      {entry.expires_at && (
                        <div className={ui.muted}>
                          expires <At at={entry.expires_at} />
                        </div>
                      )}
                    </td>
                    <td className={ui.num} data-name="Amount">
                      <Usd usd={entry.usd} />
                    </td>
                    <td className={ui.num} data-name="Funded after">
                      <Usd usd={entry.credits_after_usd} />
                    </td>
                    <td>
                      <Name most={200}>{entry.note || '—'}</Name>
                    </td>
                    <td>
                      <Name most={60}>{entry.actor ?? '—'}</Name>
                    </td>
                    <td>
                      {nano(entry.left_usd) > 0n && (
                        <Button aria-label={`Refund entry ${entry.id}`} onClick={() => onRefund(entry)}>
                          Refund
                        </Button>
                      )}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
      <div className={ui.row}>
        <Older list={list} />
      </div>
    </>
  );
}

const TITLES = { topup: 'Top up', adjustment: 'Adjust', refund: 'Refund' };
const HINTS = {
  topup: 'What the account gets.',
  adjustment: 'Below zero takes credit away.',
  refund: 'What is taken back of the entry.',
};

function Move(props: {
  of: Movement;
  standing: Standing | undefined;
  onClose: () => void;
  onDone: (said: string) => void;
}) {
  const { of, standing } = props;
  const client = useQueryClient();
  const [name] = useState(() => `console-${crypto.randomUUID()}`);
  const [draft, setDraft] = useState<MovementDraft>({
    usd: of.kind === 'refund' ? of.entry.left_usd : '',
    note: '',
    expires: '',
  });
  const [tried, setTried] = useState(false);
  const [confirming, confirm] = useState(false);
  const wrong = movementMistakes(of, draft);
  const shown = tried ? wrong : {};
  const enter = useWrite({
    mutationFn: () => {
      const [path, body] = movementCall(of, draft, name);
      return send<{ data: CreditEntry }>('POST', path, body);
    },
    onSuccess: async ({ data }) => {
      await Promise.all([
        client.invalidateQueries({ queryKey: KEY }),
        client.invalidateQueries({ queryKey: ['budgets'] }),
      ]);
      props.onDone(`Entered as ${data.kind} #${data.id}: ${exact(nano(data.usd))} for ${plain(data.account)}.`);
    },
  });
  const whose = of.kind === 'refund' ? `entry #${of.entry.id} of ${plain(of.account)}` : plain(of.account);
  return (
    <Dialog open onClose={props.onClose} title={`${TITLES[of.kind]} ${whose}`} busy={enter.isPending}>
      <form
        className={ui.stack}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          setTried(true);
          if (Object.keys(wrong).length > 0) return;
          if (confirming) enter.mutate();
          else confirm(true);
        }}
      >
        {confirming ? (
          <>
            <Facts
              of={[
                ['Account', <Name key="a">{of.account}</Name>],
                [TITLES[of.kind], exact(effect(of, draft))],
                draft.note.trim() !== '' && ['Note', <Name key="n">{draft.note.trim()}</Name>],
                draft.expires !== '' && ['Expires', `${draft.expires.replace('T', ', ')} UTC`],
                !!standing && ['Balance now', exact(available(standing))],
                !!standing && [
                  'Balance then',
                  <strong key="t" data-testid="then">
                    {exact(available(standing) + effect(of, draft))}
                  </strong>,
                ],
              ]}
            />
            <p className={ui.muted}>It holds from the next call on. An entry is never edited or deleted.</p>
          </>
        ) : (
          <>
            <TextField
              label="Amount ($)"
              required
              inputMode="decimal"
              value={draft.usd}
              wrong={shown.usd}
              hint={of.kind === 'refund' ? `At most ${exact(nano(of.entry.left_usd))}.` : HINTS[of.kind]}
              onChange={(event) => setDraft({ ...draft, usd: event.target.value })}
            />
            <TextField
              label="Note"
              maxLength={500}
              value={draft.note}
              hint="Why, for whoever reads the books."
              onChange={(event) => setDraft({ ...draft, note: event.target.value })}
            />
            {of.kind === 'topup' && (
              <TextField
                label="Expires (UTC)"
                type="datetime-local"
                value={draft.expires}
                hint="Empty: never."
                onChange={(event) => setDraft({ ...draft, expires: event.target.value })}
              />
            )}
          </>
        )}
        {enter.error && (
          <div className={ui.alert} role="alert">
            {said(enter.error)}
          </div>
        )}
        <div className={ui.row}>
          <Button
            type="submit"
            look={of.kind === 'topup' || !confirming ? 'primary' : 'danger'}
            busy={enter.isPending}
          >
            {confirming ? 'Enter it' : 'Review'}
          </Button>
          {confirming && (
            <Cancel
              onClick={() => {
                enter.reset();
                confirm(false);
              }}
            >
              Back
            </Cancel>
          )}
          <Cancel onClick={props.onClose} />
        </div>
      </form>
    </Dialog>
  );
}
