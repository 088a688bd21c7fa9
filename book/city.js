// What this book adds to mdBook's pages: consoles that know a prompt from a command and a command from its
// output, figures drawn without a network, and links that leave the book.
'use strict';

(() => {
    const page = document.querySelector('main');
    if (!page) {
        return;
    }

    // As `cargo city verify` reads a console block (city/src/lesson/console.rs).
    const PROMPT = /^(dev|client1|client2|host)\$ (.*)$/;
    const STATUS = /^\? \d+$/;

    function element(name, className, text) {
        const made = document.createElement(name);
        made.className = className;
        made.textContent = text;
        return made;
    }

    async function copy(text) {
        try {
            await navigator.clipboard.writeText(text);
        } catch {
            // A page that is neither of this machine nor came by TLS may not use it.
            const area = element('textarea', 'city-clipboard', '');
            area.value = text;
            document.body.append(area);
            area.select();
            document.execCommand('copy');
            area.remove();
        }
    }

    function copies(button, text) {
        button.addEventListener('click', async () => {
            await copy(text);
            button.classList.add('copied');
            setTimeout(() => button.classList.remove('copied'), 1500);
        });
    }

    // `[..]` and `...` stand for what differs from run to run.
    function output(line) {
        const made = element('span', 'output', '');
        if (line === '...') {
            made.append(element('span', 'any', line));
            return made;
        }
        line.split('[..]').forEach((piece, at) => {
            if (at > 0) {
                made.append(element('span', 'any', '[..]'));
            }
            made.append(piece);
        });
        return made;
    }

    // Returns the commands, without their prompts.
    function renderConsole(code) {
        const lines = code.textContent.replace(/\n$/, '').split('\n');
        const commands = [];
        code.replaceChildren();
        while (lines.length > 0) {
            const line = lines.shift();
            const prompted = PROMPT.exec(line);
            if (prompted) {
                let command = prompted[2];
                while (command.endsWith('\\') && lines.length > 0) {
                    command += '\n' + lines.shift();
                }
                commands.push(command);
                const prompt = element('button', `prompt ${prompted[1]}`, `${prompted[1]}$`);
                prompt.type = 'button';
                prompt.title = `On ${prompted[1]}. Copy this command`;
                copies(prompt, command);
                code.append(prompt, ' ', element('span', 'command', command));
            } else if (STATUS.test(line)) {
                const status = element('span', 'status', line);
                status.title = 'The exit status of the command';
                code.append(status);
            } else {
                code.append(output(line));
            }
            code.append('\n');
        }
        return commands;
    }

    for (const code of page.querySelectorAll('code.language-console')) {
        const commands = renderConsole(code).join('\n');
        const old = code.parentElement.querySelector('.clip-button');
        if (old) {
            // A clone without mdBook's listener, which would copy prompts and output as well.
            const button = old.cloneNode(true);
            button.title = 'Copy the commands';
            button.setAttribute('aria-label', button.title);
            copies(button, commands);
            old.replaceWith(button);
        }
    }
    for (const code of page.querySelectorAll('code.language-log')) {
        const lines = code.textContent.replace(/\n$/, '').split('\n');
        code.replaceChildren(...lines.flatMap(line => [output(line), '\n']));
    }

    // Links to what is not in the book: to the forge, or to the clone that the book was made from. From
    // `cargo city book` they need no change, it serves those files of the clone.
    const forge = document.querySelector('meta[name="city-forge"]')?.content.replace(/(\.git)?\/*$/, '');
    for (const link of page.querySelectorAll('a[href^="../"]')) {
        const file = link.getAttribute('href').slice('../'.length);
        if (forge) {
            link.href = `${forge}/blob/HEAD/${file}`;
        } else if (location.protocol === 'file:') {
            // target/book/ lies two folders deep.
            link.href = `../../${file}`;
        }
    }

    const figures = Array.from(page.querySelectorAll('code.language-mermaid'), code => {
        const figure = element('div', 'figure', '');
        figure.dataset.source = code.textContent;
        code.parentElement.before(figure);
        return figure;
    });

    async function draw() {
        const isDark = ['navy', 'coal', 'ayu'].some(theme => document.documentElement.classList.contains(theme));
        mermaid.initialize({
            startOnLoad: false,
            theme: isDark ? 'dark' : 'neutral',
            themeVariables: isDark ? {} : { noteBkgColor: '#fff6d5', noteBorderColor: '#d9c680', noteTextColor: '#333' },
            fontFamily: 'inherit',
        });
        for (const [at, figure] of figures.entries()) {
            const source = figure.nextElementSibling;
            try {
                const { svg } = await mermaid.render(`figure-${at}`, figure.dataset.source);
                figure.innerHTML = svg;
                // It shrinks with the page, but only as long as its letters can be read; then it is moved.
                const drawn = figure.firstElementChild;
                drawn.style.minWidth = `${Math.round(parseFloat(drawn.style.maxWidth) * 0.72)}px`;
                source.hidden = true;
            } catch (error) {
                // Its source is readable too.
                console.error(error);
                source.hidden = false;
            }
        }
    }

    if (figures.length > 0 && typeof mermaid !== 'undefined') {
        draw();
        let theme = document.documentElement.className;
        new MutationObserver(() => {
            if (document.documentElement.className !== theme) {
                theme = document.documentElement.className;
                draw();
            }
        }).observe(document.documentElement, { attributes: true, attributeFilter: ['class'] });
    }
})();
