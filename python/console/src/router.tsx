/** Every page and what of its URL it reads. What is not here is not in the navigation. */
import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  retainSearchParams,
} from '@tanstack/react-router';
import { LoginPage } from './pages/login';
import { NotFound, Shell, Stopped } from './shell/shell';
import { type Range, readRange } from './state/range';

type Texts<K extends string> = { [name in K]?: string | undefined };

/** The members of a search that are texts; the rest is dropped. */
function texts<K extends string>(...names: K[]): (search: Record<string, unknown>) => Texts<K> {
  return textsUpTo(300, ...names);
}

function textsUpTo<K extends string>(most: number, ...names: K[]): (search: Record<string, unknown>) => Texts<K> {
  return (search) => {
    const found: Texts<K> = {};
    for (const name of names) {
      const value = search[name];
      if (typeof value === 'string' && value !== '') found[name] = value.slice(0, most);
      else if (typeof value === 'number' || typeof value === 'boolean') found[name] = String(value);
    }
    return found;
  };
}

const root = createRootRoute();

const shell = createRoute({
  getParentRoute: () => root,
  id: 'shell',
  component: Shell,
  validateSearch: (search: Record<string, unknown>): Range => readRange(search),
  search: { middlewares: [retainSearchParams(['from', 'to', 'zone'])] },
});

const login = createRoute({
  getParentRoute: () => root,
  path: '/login',
  component: LoginPage,
  // What a provider of OpenID Connect sends the browser back with may be long.
  validateSearch: textsUpTo(4096, 'next', 'code', 'state', 'iss', 'error', 'error_description'),
});

const overview = createRoute({
  getParentRoute: () => shell,
  path: '/',
  component: lazyRouteComponent(() => import('./pages/overview'), 'OverviewPage'),
  validateSearch: texts('group', 'chart', 'model', 'provider', 'key', 'team', 'user', 'app', 'arm'),
});

export const REQUEST_FILTERS = [
  'model',
  'provider',
  'key',
  'app',
  'session',
  'end_user',
  'team',
  'user',
  'outcome',
  'status',
  'error',
  'retried',
  'failed',
  'least_usd',
  'least_ms',
  'arm',
  'split',
] as const;

const requests = createRoute({
  getParentRoute: () => shell,
  path: '/requests',
  component: lazyRouteComponent(() => import('./pages/requests'), 'RequestsPage'),
  validateSearch: texts(...REQUEST_FILTERS, 'live'),
});

const request = createRoute({
  getParentRoute: () => requests,
  path: '$id',
  component: lazyRouteComponent(() => import('./pages/request'), 'RequestPage'),
  validateSearch: texts('tab'),
});

const models = createRoute({
  getParentRoute: () => shell,
  path: '/models/',
  component: lazyRouteComponent(() => import('./pages/models'), 'ModelsPage'),
  validateSearch: texts(
    'q',
    'sort',
    'input',
    'tools',
    'json',
    'reasoning',
    'context',
    'picked',
    'prompt',
    'answer',
    'provider',
  ),
});

const compare = createRoute({
  getParentRoute: () => shell,
  path: '/models/compare',
  component: lazyRouteComponent(() => import('./pages/compare'), 'ComparePage'),
  validateSearch: texts('ids', 'prompt', 'answer', 'plot'),
});

const model = createRoute({
  getParentRoute: () => shell,
  path: '/models/$',
  component: lazyRouteComponent(() => import('./pages/model'), 'ModelPage'),
});

const keys = createRoute({
  getParentRoute: () => shell,
  path: '/keys',
  component: lazyRouteComponent(() => import('./pages/keys'), 'KeysPage'),
  validateSearch: texts('q', 'show', 'team'),
});

const key = createRoute({
  getParentRoute: () => shell,
  path: '/keys/$hash',
  component: lazyRouteComponent(() => import('./pages/key'), 'KeyPage'),
});

const budgets = createRoute({
  getParentRoute: () => shell,
  path: '/budgets',
  component: lazyRouteComponent(() => import('./pages/budgets'), 'BudgetsPage'),
  validateSearch: texts('tab', 'q', 'keys', 'account'),
});

const playground = createRoute({
  getParentRoute: () => shell,
  path: '/playground',
  component: lazyRouteComponent(() => import('./pages/playground'), 'PlaygroundPage'),
  validateSearch: texts('models', 'temperature', 'top_p', 'max', 'effort', 'key'),
});

const start = createRoute({
  getParentRoute: () => shell,
  path: '/start',
  component: lazyRouteComponent(() => import('./pages/start'), 'StartPage'),
});

const providers = createRoute({
  getParentRoute: () => shell,
  path: '/providers',
  component: lazyRouteComponent(() => import('./pages/providers'), 'ProvidersPage'),
});

const routing = createRoute({
  getParentRoute: () => shell,
  path: '/routing',
  component: lazyRouteComponent(() => import('./pages/routing'), 'RoutingPage'),
  validateSearch: texts('tab', 'name'),
});

const config = createRoute({
  getParentRoute: () => shell,
  path: '/config',
  component: lazyRouteComponent(() => import('./pages/config'), 'ConfigPage'),
  validateSearch: texts('tab', 'q', 'source', 'kept'),
});

const audit = createRoute({
  getParentRoute: () => shell,
  path: '/audit',
  component: lazyRouteComponent(() => import('./pages/audit'), 'AuditPage'),
  validateSearch: texts('actor', 'action', 'target_kind', 'target_id'),
});

const users = createRoute({
  getParentRoute: () => shell,
  path: '/users',
  component: lazyRouteComponent(() => import('./pages/users'), 'UsersPage'),
  validateSearch: texts('q', 'user'),
});

const account = createRoute({
  getParentRoute: () => shell,
  path: '/account',
  component: lazyRouteComponent(() => import('./pages/account'), 'AccountPage'),
});

export const router = createRouter({
  routeTree: root.addChildren([
    login,
    shell.addChildren([
      overview,
      requests.addChildren([request]),
      models,
      compare,
      model,
      keys,
      key,
      budgets,
      playground,
      start,
      routing,
      providers,
      config,
      audit,
      users,
      account,
    ]),
  ]),
  defaultNotFoundComponent: NotFound,
  defaultErrorComponent: Stopped,
  defaultPreload: 'intent',
  defaultPendingMs: 150,
  scrollRestoration: true,
  // Flat texts as everybody writes them, not JSON in quotation marks: links are read and written by people.
  parseSearch: (text) => Object.fromEntries(new URLSearchParams(text)),
  stringifySearch: (search) => {
    const said = new URLSearchParams();
    for (const [name, value] of Object.entries(search)) {
      if (value !== undefined && value !== null && value !== '') said.set(name, String(value));
    }
    const written = said.toString();
    return written ? `?${written}` : '';
  },
});

declare module '@tanstack/react-router' {
  interface HistoryState {
    /** Of the page for logging in: the log-in that was there ended by itself. It is no part of the address, which goes from hand to hand. */
    ended?: boolean;
  }
  interface Register {
    router: typeof router;
  }
}
