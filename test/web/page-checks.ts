import type { Page } from 'playwright-core';

/**
 * The texts on the page whose contrast with what is behind them is too low.
 * @see https://www.w3.org/TR/WCAG22/#contrast-minimum
 */
export function findContrastProblems(page: Page): Promise<string[]> {
  return page.evaluate(`(${contrastProblems})()`);
}

/** What screen readers would find without a name or in the wrong place. */
export function findNameProblems(page: Page): Promise<string[]> {
  return page.evaluate(`(${nameProblems})()`);
}

// These run in the page, which has a DOM that the tests' types do not know: they are text.

const contrastProblems = String.raw`() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const parse = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [r2, g2, b2]) => [r * a + r2 * (1 - a), g * a + g2 * (1 - a), b * a + b2 * (1 - a), 1];
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const problems = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { parentElement: node, data } = texts.currentNode;
    if (data.trim() === '' || !node.checkVisibility({ checkOpacity: true }) || node.closest('.visually-hidden')) continue;
    const { color, fontSize, fontWeight } = getComputedStyle(node);
    const ground = behind(node);
    const [light, dark] = [luminance(over(parse(color), ground)), luminance(ground)].sort((a, b) => b - a);
    const contrast = (light + 0.05) / (dark + 0.05);
    const size = parseFloat(fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(fontWeight) >= 700);
    if (contrast < (isLarge ? 3 : 4.5)) problems.push(contrast.toFixed(2) + ' ' + node.className + ': ' + data.trim().slice(0, 40));
  }
  return [...new Set(problems)];
}`;

const nameProblems = String.raw`() => {
  const problems = [];
  const describe = (node) => node.outerHTML.slice(0, 100);
  for (const node of document.querySelectorAll('button, a, input, textarea, [role=region], [role=group], nav, section')) {
    const label = node.getAttribute('aria-label') ?? node.labels?.[0]?.textContent ?? '';
    const text = node.matches('button, a') ? node.textContent + (node.querySelector('img')?.alt ?? '') : '';
    if (node.checkVisibility() && label.trim() === '' && text.trim() === '') problems.push('no name: ' + describe(node));
  }
  for (const image of document.querySelectorAll('img:not([alt])')) problems.push('no alt: ' + describe(image));
  for (const svg of document.querySelectorAll('svg:not([aria-hidden=true])')) problems.push('svg: ' + describe(svg));
  for (const item of document.querySelectorAll('li')) {
    if (!item.parentElement.matches('ul, ol')) problems.push('no list: ' + describe(item));
  }
  for (const list of document.querySelectorAll('ul, ol')) {
    if (list.querySelector(':scope > :not(li)')) problems.push('other than items: ' + describe(list));
  }
  for (const inner of document.querySelectorAll('button button, button a, a button, a a')) problems.push('nested: ' + describe(inner));
  const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) problems.push('twice: ' + id);
  for (const node of document.querySelectorAll('[tabindex]')) {
    if (Number(node.getAttribute('tabindex')) > 0) problems.push('order: ' + describe(node));
  }
  if (!document.documentElement.lang || !document.title) problems.push('no language or title');
  return problems;
}`;
