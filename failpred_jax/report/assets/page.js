// Everything that moves on the page: figures drawn as they come near, tables that sort, the threshold slider, and
// light and dark. Data comes from the JSON blocks; text enters the page through textContent only.
(() => {
  'use strict';

  const THIN = '\u202f';
  const read = (id) => {
    const element = document.getElementById(id);
    return element ? JSON.parse(element.textContent) : null;
  };

  // Light and dark.
  const style = read('data-style');
  const prefersDark = window.matchMedia('(prefers-color-scheme: dark)');
  let chosen = null;
  let printing = false;
  const theme = () => (printing ? 'light' : chosen || (prefersDark.matches ? 'dark' : 'light'));

  const colors = new Map(style.colors.light.map((color, i) => [color, style.colors.dark[i]]));
  const recolor = (value) => {
    if (typeof value === 'string') return colors.get(value) || value;
    if (Array.isArray(value)) return value.map(recolor);
    if (value && typeof value === 'object') {
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, recolor(inner)]));
    }
    return value;
  };

  // Figures.
  const legends = [...document.querySelectorAll('.legend')];
  // Named one by one: the default bar offers to send the chart to Plotly's server.
  const CONFIG = {
    responsive: true,
    displaylogo: false,
    showSendToCloud: false,
    plotlyServerURL: '',
    modeBarButtons: [['toImage', 'zoom2d', 'pan2d', 'resetScale2d']],
  };
  const specs = new Map();

  // plotly.js is most of the page's bytes. It lies in an inert block until text, tables and slider are there.
  const loadPlotly = () => {
    if (window.Plotly) return;
    const script = document.createElement('script');
    script.textContent = document.getElementById('plotly-source').textContent;
    document.body.append(script);
  };

  const draw = (element) => {
    loadPlotly();
    const name = element.dataset.figure;
    const look = printing ? 'print' : theme();
    if (element.dataset.theme === look) return;
    if (!specs.has(name)) specs.set(name, read(`data-${name}`));
    const spec = specs.get(name);
    const fresh = structuredClone(spec);
    const { data, layout } = theme() === 'dark' ? recolor(fresh) : fresh;
    layout.template = style.templates[theme()];
    // What the reader hid or showed stays so.
    (element.data || []).forEach((trace, i) => {
      if (data[i] && trace.visible !== undefined) data[i].visible = trace.visible;
    });
    for (const legend of legends) {
      if (!legend.dataset.figures.split(' ').includes(name)) continue;
      for (const key of legend.children) {
        const line = data.find((trace) => trace.name === key.dataset.line);
        if (line) line.visible = key.getAttribute('aria-pressed') === 'true';
      }
    }
    element.dataset.theme = look;
    window.Plotly.react(element, data, layout, CONFIG);
  };

  for (const legend of legends) {
    legend.addEventListener('click', (event) => {
      const key = event.target.closest('button');
      if (!key) return;
      const shown = key.getAttribute('aria-pressed') !== 'true';
      key.setAttribute('aria-pressed', String(shown));
      for (const name of legend.dataset.figures.split(' ')) {
        const plot = document.querySelector(`[data-figure="${name}"][data-theme]`);
        const line = plot ? plot.data.findIndex((trace) => trace.name === key.dataset.line) : -1;
        if (line >= 0) window.Plotly.restyle(plot, { visible: shown }, [line]);
      }
    });
  }
  const recolorLegends = () => legends.forEach((legend) => legend.querySelectorAll('line').forEach((line) => {
    if (!line.dataset.stroke) line.dataset.stroke = line.getAttribute('stroke');
    const color = line.dataset.stroke;
    line.setAttribute('stroke', theme() === 'dark' ? colors.get(color) || color : color);
  }));

  const plots = [...document.querySelectorAll('.plot')];
  const drawn = () => plots.filter((plot) => plot.dataset.theme);
  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        near.unobserve(entry.target);
        draw(entry.target);
      }
    },
    { rootMargin: '600px' },
  );
  // What is in view is drawn at once: a screenshot without a window is taken once the page has loaded, before any
  // observer is called. The rest waits until it comes near.
  const isInView = (plot) => {
    const { top, bottom, width } = plot.getBoundingClientRect();
    return width > 0 && bottom > 0 && top < window.innerHeight;
  };
  const start = () => {
    plots.filter(isInView).forEach(draw);
    window.setTimeout(() => plots.forEach((plot) => near.observe(plot)), 0);
  };
  if (document.readyState === 'complete') start();
  else window.addEventListener('load', start);

  const redraw = () => { recolorLegends(); drawn().forEach(draw); };
  const button = document.getElementById('theme');
  const showTheme = () => {
    document.documentElement.dataset.theme = theme();
    button.textContent = theme() === 'dark' ? 'Light' : 'Dark';
    redraw();
  };
  button.addEventListener('click', () => {
    chosen = theme() === 'dark' ? 'light' : 'dark';
    showTheme();
  });
  prefersDark.addEventListener('change', showTheme);
  showTheme();

  // Paper is white and narrow, and nobody scrolls on it: draw everything in light colors, as wide as a page (the
  // class sets that width, since figures are drawn before the browser lays out for print), and open what is folded.
  let closed = [];
  window.addEventListener('beforeprint', () => {
    printing = true;
    document.documentElement.dataset.theme = 'light';
    document.documentElement.classList.add('printing');
    closed = [...document.querySelectorAll('details:not([open])')];
    closed.forEach((details) => { details.open = true; });
    recolorLegends();
    plots.forEach(draw);
  });
  window.addEventListener('afterprint', () => {
    printing = false;
    document.documentElement.classList.remove('printing');
    closed.forEach((details) => { details.open = false; });
    showTheme();
  });
  document.querySelectorAll('details').forEach((details) => {
    details.addEventListener('toggle', () => details.querySelectorAll('.plot').forEach(draw));
  });

  // Tables.
  const cellKey = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.sort === undefined) return cell.textContent.trim();
    return cell.dataset.sort === '' ? null : Number(cell.dataset.sort);
  };
  const compare = (a, b) => (typeof a === 'number' && typeof b === 'number'
    ? a - b
    : String(a).localeCompare(String(b), undefined, { numeric: true }));

  for (const table of document.querySelectorAll('table.sortable')) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.querySelector('button').addEventListener('click', () => {
        const before = head.getAttribute('aria-sort');
        const first = head.classList.contains('num') ? 'descending' : 'ascending';
        const other = first === 'ascending' ? 'descending' : 'ascending';
        const direction = before === first ? other : first;
        heads.forEach((h) => h.removeAttribute('aria-sort'));
        head.setAttribute('aria-sort', direction);
        const sign = direction === 'ascending' ? 1 : -1;
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [cellKey(row, column), row]);
        // Undefined values stay at the end in either direction.
        rows.sort(([a], [b]) => (a === null ? 1 : 0) - (b === null ? 1 : 0) || (a === null ? 0 : sign * compare(a, b)));
        body.append(...rows.map(([, row]) => row));
      });
    });
  }

  // The threshold.
  const thresholds = read('data-thresholds');
  if (thresholds) {
    const select = document.getElementById('threshold-score');
    const slider = document.getElementById('threshold-slider');
    const put = (name, text) => { document.getElementById(`threshold-${name}`).textContent = text; };
    const whole = (n) => String(Math.round(n)).replace(/\B(?=(\d{3})+(?!\d))/g, THIN);
    const percent = (share, digits = 1) => `${(share * 100).toFixed(digits)}${THIN}%`;
    const shareOf = (part, all) => (all ? percent(part / all) : '\u2013');
    const current = () => thresholds.scores[select.value];

    const show = () => {
      const points = current();
      const i = Number(slider.value);
      const total = points.accepted[0];
      const totalErrors = points.errors[0];
      const accepted = points.accepted[i];
      const errors = points.errors[i];
      const rejected = total - accepted;
      const caught = totalErrors - errors;
      const lost = rejected - caught;
      const threshold = points.threshold[i];
      put('value', Math.abs(threshold) >= 1e5 || (threshold && Math.abs(threshold) < 1e-3)
        ? threshold.toExponential(2) : threshold.toFixed(4));
      put('accepted', `${whole(accepted)} (${shareOf(accepted, total)})`);
      put('rejected', `${whole(rejected)} (${shareOf(rejected, total)})`);
      put('errors', `${whole(errors)} of ${whole(totalErrors)}`);
      put('risk', accepted ? percent(errors / accepted, 2) : '\u2013');
      put('caught', shareOf(caught, totalErrors));
      put('lost', shareOf(lost, total - totalErrors));
      const parts = {
        'accepted-correct': accepted - errors,
        'accepted-wrong': errors,
        'rejected-wrong': caught,
        'rejected-correct': lost,
      };
      for (const [name, part] of Object.entries(parts)) {
        document.getElementById(`bar-${name}`).style.flexGrow = part / total;
      }
      slider.setAttribute('aria-valuetext', `threshold ${threshold}: ${accepted} accepted, ${errors} errors remaining`);
    };

    // Certified thresholds of this score: what is accepted lies over them.
    const mark = () => {
      const { threshold } = current();
      const last = Math.max(threshold.length - 1, 1);
      const marks = Object.entries((thresholds.marks || {})[select.value] || {});
      document.getElementById('threshold-marks').replaceChildren(...marks.map(([name, value]) => {
        const place = threshold.findIndex((t) => t > value);
        const button = document.createElement('button');
        button.type = 'button';
        button.textContent = '\u25b2';
        button.title = `certified, ${name}`;
        button.setAttribute('aria-label', button.title);
        button.style.left = `${(100 * (place < 0 ? last : place)) / last}%`;
        button.addEventListener('click', () => { slider.value = place < 0 ? last : place; show(); });
        return button;
      }));
    };

    const choose = () => {
      const { accepted } = current();
      slider.max = accepted.length - 1;
      // Start at the strictest threshold that accepts nine in ten, where the verdict looked too.
      slider.value = accepted.findLastIndex((a) => a >= 0.9 * accepted[0]);
      mark();
      show();
    };
    select.addEventListener('change', choose);
    slider.addEventListener('input', show);
    choose();
  }
})();
