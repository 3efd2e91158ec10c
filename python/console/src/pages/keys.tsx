/** "Who holds a key, what may it do, what has it used?" */
import { useQuery } from '@tanstack/react-query';
import { Link, useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import { keysQuery } from '../api/queries';
import type { Key } from '../api/types';
import { nano, usedOf } from '../format/money';
import { useTitle } from '../shell/title';
import { useMay, useSetSearch } from '../state/hooks';
import { At, Badge, Button, Choose, classes, Meter, Name, Usd, ui } from '../ui/basics';
import { Part } from '../ui/part';
import { Search } from '../ui/search';
import { Empty, Loaded } from '../ui/states';
import { CreateKey } from './key-form';
import s from './keys.module.css';

export function KeysPage() {
  const heading = useTitle('Keys');
  const {
    q = '',
    show = 'active',
    team = '',
  } = useSearch({ strict: false }) as { q?: string; show?: string; team?: string };
  const setSearch = useSetSearch();
  const keys = useQuery({ ...keysQuery, refetchInterval: 15_000 });
  const mayCreate = useMay('member');
  const [creating, create] = useState(false);
  const teams = [...new Set((keys.data ?? []).map((key) => key.team).filter((name): name is string => !!name))].sort();
  return (
    <>
      <div className={ui.spread}>
        <h1 tabIndex={-1} ref={heading}>
          Keys
        </h1>
        {mayCreate && (
          <Button look="primary" onClick={() => create(true)}>
            Create key
          </Button>
        )}
      </div>
      <div className={ui.row}>
        <Search
          label="Search keys by name, owner or prefix"
          placeholder="Name, owner, prefix"
          value={q}
          onSearch={(text) => setSearch({ q: text }, true)}
        />
        <Choose
          label="Which keys"
          value={show}
          choices={[
            { value: 'active', label: 'Active' },
            { value: 'disabled', label: 'Disabled' },
            { value: 'expired', label: 'Expired' },
            { value: 'all', label: 'All' },
          ]}
          onChange={(value) => setSearch({ show: value === 'active' ? undefined : value })}
        />
        {teams.length > 0 && (
          <Choose
            label="Team"
            value={team}
            choices={[{ value: '', label: 'Every team' }, ...teams.map((name) => ({ value: name, label: name }))]}
            onChange={(value) => setSearch({ team: value || undefined })}
          />
        )}
      </div>
      <Loaded query={keys} height={320}>
        {(all) => {
          const wanted = q.toLowerCase();
          const rows = all
            .filter((key) => show === 'all' || state(key) === show)
            .filter((key) => !team || key.team === team)
            .filter(
              (key) =>
                !wanted ||
                [key.name, key.label, key.team, key.user, key.account].some((text) =>
                  text?.toLowerCase().includes(wanted),
                ),
            )
            .sort(byUse);
          if (all.length === 0) {
            return (
              <Empty title="There is no key yet. Without one nothing can be called.">
                {mayCreate && (
                  <Button look="primary" onClick={() => create(true)}>
                    Create the first key
                  </Button>
                )}
              </Empty>
            );
          }
          if (rows.length === 0) {
            return (
              <Empty title={`None of the ${all.length} keys fits.`}>
                <Button onClick={() => setSearch({ q: undefined, show: 'all', team: undefined })}>Show all</Button>
              </Empty>
            );
          }
          return <Part rows={rows}>{(part) => <Table rows={part} />}</Part>;
        }}
      </Loaded>
      {creating && <CreateKey onClose={() => create(false)} />}
    </>
  );
}

/** Whether a key works. */
export function state(key: Key): 'active' | 'disabled' | 'expired' {
  if (key.disabled) return 'disabled';
  return key.expires_at && Date.parse(key.expires_at) <= Date.now() ? 'expired' : 'active';
}

export function StateBadge({ of }: { of: Key }) {
  const is = state(of);
  return is === 'active' ? null : <Badge look={is === 'disabled' ? 'warn' : 'bad'}>{is}</Badge>;
}

function byUse(a: Key, b: Key): number {
  const more = nano(b.usage_monthly_usd) - nano(a.usage_monthly_usd);
  return more === 0n ? a.name.localeCompare(b.name) : more > 0n ? 1 : -1;
}

/** What is used of the key's own limit. "No limit" is not "$0". */
export function Used({ of: key }: { of: Key }) {
  if (key.limit_usd === null || key.limit_remaining_usd === null) {
    return (
      <>
        <Usd usd={key.usage_usd} /> <span className={ui.muted}>/ No limit</span>
      </>
    );
  }
  const { used, share } = usedOf(key.limit_usd, key.limit_remaining_usd);
  return (
    <div className={s.used}>
      <span>
        <Usd usd={used} />{' '}
        <span className={ui.muted}>
          / <Usd usd={key.limit_usd} /> {key.limit_reset ?? 'in all'}
        </span>
      </span>
      <Meter share={share} label={`Used of the limit of ${key.name}`} />
    </div>
  );
}

function Table({ rows }: { rows: Key[] }) {
  return (
    <div className={ui.scroll} tabIndex={0} role="region" aria-label="Keys, those that spent most this month first">
      <table className={classes(ui.table, s.table)}>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Prefix</th>
            <th scope="col">Owner</th>
            <th scope="col">Used / limit</th>
            <th scope="col" className={ui.num}>
              This month
            </th>
            <th scope="col" className={ui.num}>
              Per minute
            </th>
            <th scope="col">Last used</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((key) => (
            <tr key={key.hash}>
              <td>
                <Link to="/keys/$hash" params={{ hash: key.hash }}>
                  <Name most={50}>{key.name || '(no name)'}</Name>
                </Link>{' '}
                <StateBadge of={key} /> {key.source === 'file' && <Badge>from the file</Badge>}{' '}
                {key.management && <Badge>management</Badge>}
              </td>
              <td className={ui.mono}>{key.label}</td>
              <td>
                <Name most={40}>
                  {[key.account === 'default' ? '' : key.account, key.team, key.user].filter(Boolean).join(' › ') ||
                    key.account}
                </Name>
              </td>
              <td>
                <Used of={key} />
              </td>
              <td className={ui.num}>
                <Usd usd={key.usage_monthly_usd} />
              </td>
              <td className={ui.num}>{key.rpm ?? <span className={ui.muted}>No limit</span>}</td>
              <td>
                {key.last_used_at ? <At at={key.last_used_at} how="ago" /> : <span className={ui.muted}>never</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
