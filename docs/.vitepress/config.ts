import { defineConfig } from 'vitepress';
import { nav, repository, sidebar } from './navigation.js';

/** The site of docs/. A link to a page that does not exist fails the build. */
export default defineConfig({
  title: 'matrix-client-manager',
  description: 'Matrix accounts, live clients, callbacks and messages for the users of a Node backend',
  cleanUrls: true,
  vite: { build: { chunkSizeWarningLimit: 1_000 } }, // the index of the search is one file
  themeConfig: {
    search: { provider: 'local' },
    nav,
    sidebar: sidebar(),
    outline: [2, 3],
    socialLinks: [{ icon: 'github', link: repository }],
  },
});
