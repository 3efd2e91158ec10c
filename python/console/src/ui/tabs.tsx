import { Tabs as Base } from '@base-ui/react/tabs';
import type { ReactNode } from 'react';
import { ui } from './basics';

export interface Tab {
  id: string;
  label: string;
  content: () => ReactNode;
}

export function Tabs({
  tabs,
  value,
  onChange,
  label,
}: {
  tabs: readonly Tab[];
  value: string;
  onChange: (id: string) => void;
  label: string;
}) {
  const known = tabs.some((tab) => tab.id === value) ? value : tabs[0]?.id;
  return (
    <Base.Root value={known} onValueChange={(id) => onChange(String(id))}>
      <Base.List className={ui.tabs} aria-label={label}>
        {tabs.map((tab) => (
          <Base.Tab key={tab.id} value={tab.id} className={ui.tab}>
            {tab.label}
          </Base.Tab>
        ))}
      </Base.List>
      {tabs.map((tab) => (
        <Base.Panel key={tab.id} value={tab.id} className={ui.stack} style={{ paddingTop: 12 }}>
          {tab.id === known && tab.content()}
        </Base.Panel>
      ))}
    </Base.Root>
  );
}
