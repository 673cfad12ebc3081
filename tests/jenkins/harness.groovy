// Executes a declarative Jenkinsfile on this machine: `groovy harness.groovy JENKINSFILE BUILD.json …`, in pairs.
//
// Sections are closures whose delegates know what Declarative Pipeline allows there; `sh` runs for real. What is not
// known is refused, and so are two sections on one line, which Groovy reads as a chain of calls, and semicolons.
// Stages that are parallel run one after another. BUILD.json says which branch or change is built, and where what
// Jenkins keeps lies; the build's folder gets `archive/` and `result.json`.
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import java.nio.file.FileSystems
import java.nio.file.Files
import java.nio.file.LinkOption
import java.nio.file.StandardCopyOption
import org.codehaus.groovy.control.MultipleCompilationErrorsException

class Refused extends RuntimeException {
    Refused(String why) { super(why) }
}

class Failed extends RuntimeException {
    Failed(String why) { super(why) }
}

/** What a section returns: nothing may be called on it. */
class Ended {
    String section
    def invokeMethod(String name, Object arguments) { throw new Refused("$name after $section on one line") }
    def getProperty(String name) { throw new Refused("$name after ${this.@section} on one line") }
}

/** The variables of a build, as `env` gives them. */
class Env {
    Build build
    def getProperty(String name) { this.@build.variables[name] }
    void setProperty(String name, Object value) { this.@build.variables[name] = String.valueOf(value) }
}

abstract class Block {
    Build build

    def getEnv() { build.env }
    def methodMissing(String name, Object arguments) { throw new Refused("$name is not known in ${getClass().simpleName}") }
    def propertyMissing(String name) { throw new Refused("$name is not known in ${getClass().simpleName}") }

    def <T extends Block> T within(Closure body, T block) {
        block.build = build
        Closure own = body.rehydrate(block, null, null)
        own.resolveStrategy = Closure.DELEGATE_ONLY
        own.call()
        return block
    }
    protected Ended end(String section) { new Ended(section: section) }
}

class Options extends Block {
    Map<String, Object> found = [:]
    def timeout(Map how) { minutes(how); return end('timeout') }
    def disableConcurrentBuilds(Map how = [:]) { found.alone = true; return end('disableConcurrentBuilds') }
    def buildDiscarder(Map how) { return end('buildDiscarder') }
    Map logRotator(Map how) { how }
    def copyArtifactPermission(String names) { found.permission = names; return end('copyArtifactPermission') }
    def skipDefaultCheckout() { found.withoutCheckout = true; return end('skipDefaultCheckout') }
    private void minutes(Map how) {
        Map units = [MINUTES: 1, HOURS: 60]
        if (how.keySet() != ['time', 'unit'] as Set || !units[how.unit]) throw new Refused("timeout($how)")
        found.minutes = how.time * units[how.unit]
    }
}

class Triggers extends Block {
    String spec
    def cron(String text) { spec = text; return end('cron') }
}

class Agent extends Block {
    String name
    def label(String text) { name = text; return end('label') }
}

class Environment extends Block {
    void setProperty(String name, Object value) {
        if (name == 'build') metaClass.setProperty(this, name, value)
        else build.variables[name] = value.toString()
    }
}

class When extends Block {
    List<Boolean> found = []
    boolean beforeAgent(boolean yes) { yes }
    def branch(String name) { add(env.BRANCH_NAME == name && !env.CHANGE_ID) }
    def changeRequest() { add(env.CHANGE_ID != null) }
    def triggeredBy(String cause) {
        if (!(cause in ['TimerTrigger', 'UserIdCause'])) throw new Refused("triggeredBy $cause")
        add(build.cause == cause)
    }
    def expression(Closure body) {
        Steps steps = new Steps(build: build)
        Closure own = body.rehydrate(steps, null, null)
        own.resolveStrategy = Closure.DELEGATE_ONLY
        add(own.call() as boolean)
    }
    def not(Closure body) {
        When inner = within(body, new When())
        if (inner.found.size() != 1) throw new Refused('not holds one condition')
        add(!inner.found[0])
    }
    private def add(boolean yes) { found << yes; return end('a condition') }
}

class Post extends Block {
    static final List ORDER = ['always', 'failure', 'success', 'cleanup']
    Map<String, Closure> found = [:]
    def always(Closure body) { add('always', body) }
    def failure(Closure body) { add('failure', body) }
    def success(Closure body) { add('success', body) }
    def cleanup(Closure body) { add('cleanup', body) }
    private def add(String name, Closure body) {
        if (found[name]) throw new Refused("$name twice")
        found[name] = body
        return end(name)
    }
}

class Stages extends Block {
    List<Stage> found = []
    def stage(String name, Closure body) {
        Stage stage = within(body, new Stage(name: name))
        if ([stage.steps, stage.stages, stage.branches].count { it != null } != 1) {
            throw new Refused("stage $name holds one of steps, stages and parallel")
        }
        found << stage
        return end('stage')
    }
}

class Stage extends Block {
    String name
    Agent agent
    Closure options, environment, when, steps, post
    List<Stage> stages, branches
    def agent(Closure body) { agent = within(body, new Agent()); return end('agent') }
    def options(Closure body) { options = body; return end('options') }
    def environment(Closure body) { environment = body; return end('environment') }
    def when(Closure body) { when = body; return end('when') }
    def steps(Closure body) { steps = body; return end('steps') }
    def post(Closure body) { post = body; return end('post') }
    def stages(Closure body) { stages = within(body, new Stages()).found; return end('stages') }
    def parallel(Closure body) {
        branches = within(body, new Stages()).found
        if (branches.any { it.branches != null }) throw new Refused('parallel in parallel')
        return end('parallel')
    }
}

class Pipeline extends Block {
    boolean anywhere
    Closure options, triggers, environment
    List<Stage> stages
    Object getNone() { 'none' }
    def agent(Object where) {
        if (where != 'none') throw new Refused('each stage names its agent')
        anywhere = true
        return end('agent')
    }
    def options(Closure body) { options = body; return end('options') }
    def triggers(Closure body) { triggers = body; return end('triggers') }
    def environment(Closure body) { environment = body; return end('environment') }
    def stages(Closure body) { stages = within(body, new Stages()).found; return end('stages') }
}

/** The steps; each is noted with its line. */
class Steps extends Block {
    def sh(String script) { sh(script: script) }
    def sh(Map how) {
        note('sh', how.script)
        if (how.keySet() - ['script', 'returnStdout']) throw new Refused("sh($how)")
        if (build.dry) return how.returnStdout ? '' : end('sh')
        def (int code, String output) = build.shell(how.script, how.returnStdout as boolean)
        build.killed(how.script)
        if (code) throw new Failed("script returned exit code $code")
        return how.returnStdout ? output : end('sh')
    }
    def echo(String text) {
        note('echo', text)
        return end('echo')
    }
    def deleteDir() {
        note('deleteDir', '')
        if (build.dry) return end('deleteDir')
        build.workspace.deleteDir()
        build.workspace.mkdirs()
        return end('deleteDir')
    }
    boolean fileExists(String name) { !build.dry && new File(build.workspace, name).exists() }
    Map readProperties(Map how) {
        Properties read = new Properties()
        read.load(new StringReader(how.text))
        return read as Map
    }
    def script(Closure body) { inside(body); return end('script') }
    def catchError(Map how, Closure body) {
        note('catchError', how)
        if (how.keySet() != ['buildResult', 'stageResult'] as Set) throw new Refused("catchError($how)")
        try {
            inside(body)
        } catch (Failed error) {
            build.say("ERROR: ${error.message}")
            if (how.buildResult == 'FAILURE') build.result = 'FAILURE'
            if (how.stageResult == 'FAILURE') build.stageResult = 'FAILURE'
        }
        return end('catchError')
    }
    def archiveArtifacts(Map how) {
        note('archiveArtifacts', how.artifacts)
        if (how.keySet() - ['artifacts', 'allowEmptyArchive']) throw new Refused("archiveArtifacts($how)")
        if (build.dry) return end('archiveArtifacts')
        int copied = build.copy(build.workspace, new File(build.folder, 'archive'), how.artifacts)
        if (!copied && !how.allowEmptyArchive) throw new Failed("No artifacts found that match '${how.artifacts}'")
        return end('archiveArtifacts')
    }
    def copyArtifacts(Map how) {
        note('copyArtifacts', how.projectName)
        if (how.keySet() - ['projectName', 'selector', 'filter', 'optional']) throw new Refused("copyArtifacts($how)")
        if (build.dry) return end('copyArtifacts')
        File from = build.lastSuccessful(how.projectName)
        int copied = from ? build.copy(new File(from, 'archive'), build.workspace, how.filter) : 0
        if (!copied && !how.optional) throw new Failed("no artifacts of ${how.projectName}")
        return end('copyArtifacts')
    }
    String lastSuccessful() { 'lastSuccessful' }
    def stash(Map how) {
        note('stash', how.name)
        if (how.keySet() - ['name', 'includes', 'allowEmpty']) throw new Refused("stash($how)")
        if (build.dry) return end('stash')
        File place = new File(build.folder, "stash/${how.name}")
        place.mkdirs()
        int copied = build.copy(build.workspace, place, how.includes)
        if (!copied && !how.allowEmpty) throw new Failed("No files included in stash '${how.name}'")
        return end('stash')
    }
    def unstash(String name) {
        note('unstash', name)
        if (build.dry) return end('unstash')
        File place = new File(build.folder, "stash/$name")
        if (!place.exists()) throw new Failed("No such saved stash '$name'")
        build.copy(place, build.workspace, '**')
        return end('unstash')
    }
    Map string(Map how) { [id: how.credentialsId, kind: 'string', variables: [value: how.variable]] }
    Map usernamePassword(Map how) {
        [id: how.credentialsId, kind: 'usernamePassword',
         variables: [username: how.usernameVariable, password: how.passwordVariable]]
    }
    def withCredentials(List<Map> wanted, Closure body) {
        note('withCredentials', wanted*.id)
        Map<String, String> before = new LinkedHashMap(build.variables)
        for (one in (build.dry ? [] : wanted)) {
            Map found = build.credentials[one.id]
            if (found?.kind != one.kind) throw new Failed("Could not find credentials entry with ID '${one.id}'")
            one.variables.each { String part, String variable -> build.variables[variable] = found[part] }
        }
        try {
            inside(body)
        } finally {
            build.variables = before
        }
        return end('withCredentials')
    }
    private void inside(Closure body) {
        Closure own = body.rehydrate(this, null, null)
        own.resolveStrategy = Closure.DELEGATE_ONLY
        own.call()
    }
    private void note(String step, Object what) {
        if (build.dry) return
        def line = new Throwable().stackTrace.find { it.fileName == 'Jenkinsfile' }.lineNumber
        build.steps << [stage: build.path, step: step, line: line, what: what.toString()]
        build.say("[Pipeline] $step $what")
    }
}

/** One build: what is to be built, where things lie, and what has happened. */
class Build {
    Map given
    Env env
    Map<String, String> variables
    File folder, workspace
    String result = 'SUCCESS', stageResult, path = ''
    List<Map> steps = []
    Map<String, String> stages = [:]
    Map<String, Object> options = [:]
    String cron = ''
    boolean dry

    Build(Map given) {
        this.given = given
        folder = new File(given.folder)
        variables = new LinkedHashMap(given.env)
        env = new Env()
        env.@build = this
    }
    Map getCredentials() { given.credentials }
    String getCause() { given.cause }
    void say(Object text) { println(mask(text.toString())) }

    private String mask(String text) {
        credentials.values().collectMany { [it.value, it.password] }.findAll().inject(text) { String t, s -> t.replace(s, '****') }
    }
    List shell(String script, boolean quiet) {
        ProcessBuilder builder = new ProcessBuilder('/bin/sh', '-xe', '-c', script).directory(workspace)
        builder.environment().putAll(variables + [WORKSPACE: workspace.path])
        if (!quiet) builder.redirectErrorStream(true)
        Process process = builder.start()
        process.outputStream.close()
        if (quiet) process.consumeProcessErrorStream((OutputStream) System.err)
        String output = process.inputStream.getText('UTF-8')
        int code = process.waitFor()
        say(output)
        return [code, output]
    }
    /** As when the controller loses its power: nothing runs any more. */
    void killed(String script) {
        if (given.killedAfter && script.contains(given.killedAfter)) {
            finish('KILLED')
            System.out.flush()
            Runtime.runtime.halt(9)
        }
    }
    int copy(File from, File to, String patterns) {
        int copied = 0
        if (!from.isDirectory()) return 0
        def matchers = patterns.split(',').collect { FileSystems.default.getPathMatcher("glob:${it.trim()}") }
        from.eachFileRecurse { File file ->
            def name = from.toPath().relativize(file.toPath())
            if (!file.isDirectory() && matchers.any { it.matches(name) }) {
                File target = to.toPath().resolve(name).toFile()
                target.parentFile.mkdirs()
                // A link stays a link.
                Files.copy(file.toPath(), target.toPath(), StandardCopyOption.REPLACE_EXISTING, LinkOption.NOFOLLOW_LINKS)
                copied++
            }
        }
        return copied
    }
    File lastSuccessful(String project) {
        File job = new File(given.jobs, project)
        if (project != env.JOB_NAME) {
            String name = env.JOB_NAME.split('/')[-1]
            File permission = new File(job, 'permission')
            boolean may = permission.exists() && permission.text.split(',').any { name ==~ it.replace('*', '.*') }
            if (!may) throw new Failed("Unable to find project for artifact copy: $project")
        }
        def builds = (job.listFiles() ?: []).findAll { new File(it, 'result.json').exists() }
        builds = builds.findAll { new JsonSlurper().parse(new File(it, 'result.json')).result == 'SUCCESS' }
        return builds.max { it.name as int }
    }
    void finish(String outcome = result) {
        def found = [result: outcome, stages: stages, steps: steps, cron: cron, options: options]
        new File(folder, 'result.json').text = JsonOutput.toJson(found)
        if (options.permission) new File(folder.parentFile, 'permission').text = options.permission
    }

    // Running ---------------------------------------------------------------------------------------------------------

    void run(Pipeline pipeline) {
        if (!pipeline.anywhere || !pipeline.stages) throw new Refused('a pipeline has agent and stages')
        Block block = new Options(build: this)
        if (pipeline.options) options = block.within(pipeline.options, new Options()).found
        if (pipeline.triggers) cron = block.within(pipeline.triggers, new Triggers()).spec
        if (pipeline.environment) block.within(pipeline.environment, new Environment())
        dry = true
        Map<String, String> before = new LinkedHashMap(variables)
        validate(pipeline.stages)
        variables = before
        dry = false
        sequence(pipeline.stages, '')
    }
    /** As Jenkins does before anything runs: is all known that stands there? */
    private void validate(List<Stage> all) {
        Block block = new Options(build: this)
        for (stage in all) {
            if (stage.options) block.within(stage.options, new Options())
            if (stage.environment) block.within(stage.environment, new Environment())
            if (stage.when) block.within(stage.when, new When())
            if (stage.steps) block.within(stage.steps, new Steps())
            if (stage.post) block.within(stage.post, new Post()).found.values().each { block.within(it, new Steps()) }
            validate(stage.stages ?: stage.branches ?: [])
        }
    }
    private boolean sequence(List<Stage> all, String above) {
        boolean good = true
        for (stage in all) {
            if (good) good = one(stage, above)
            else stages[above + stage.name] = 'SKIPPED'
        }
        return good
    }
    /** Run a stage; false where what comes after it is not to run. */
    private boolean one(Stage stage, String above) {
        String own = above + stage.name
        Block block = new Options(build: this)
        if (stage.when && !block.within(stage.when, new When()).found.every()) {
            stages[own] = 'SKIPPED'
            return true
        }
        Map found = stage.options ? block.within(stage.options, new Options()).found : [:]
        File outer = workspace
        if (stage.agent) enter(stage.agent.name, own, found)
        Set names = new HashSet(variables.keySet())
        if (stage.environment) block.within(stage.environment, new Environment())
        Set local = variables.keySet() - names
        String kept = stageResult
        stageResult = 'SUCCESS'
        boolean goesOn = body(stage, own)
        String here = stageResult
        if (stage.post) after(stage, own, here)
        if (stage.steps) stages[own] = stageResult
        workspace = outer
        if (stage.environment) local.each { variables.remove(it) }
        stageResult = kept == 'FAILURE' || stageResult == 'FAILURE' ? 'FAILURE' : 'SUCCESS'
        return goesOn
    }
    private boolean body(Stage stage, String own) {
        if (stage.stages != null) return sequence(stage.stages, "$own/")
        if (stage.branches != null) return stage.branches.collect { one(it, "$own/") }.every()
        path = own
        return attempt(stage.steps)
    }
    private boolean attempt(Closure steps) {
        try {
            new Options(build: this).within(steps, new Steps())
            return true
        } catch (Failed error) {
            say("ERROR: ${error.message}")
            result = stageResult = 'FAILURE'
            return false
        }
    }
    private void after(Stage stage, String own, String here) {
        Map<String, Closure> found = new Options(build: this).within(stage.post, new Post()).found
        path = own
        for (condition in Post.ORDER) {
            boolean holds = condition in ['always', 'cleanup'] || condition == here.toLowerCase()
            if (holds && found[condition]) attempt(found[condition])
        }
    }
    private void enter(String label, String own, Map found) {
        if (!(label in given.labels)) throw new Refused("there are no nodes with the label '$label'")
        workspace = new File(given.workspaces, "$label/${own.replaceAll('[^A-Za-z0-9]+', '-')}")
        workspace.mkdirs()
        variables.NODE_LABELS = label
        if (!found.withoutCheckout) checkout()
    }
    /** As a multibranch pipeline does: what git does not track stays; a change is merged into its target. */
    private void checkout() {
        git('init', '--quiet')
        git('fetch', '--quiet', given.remote, '+refs/heads/*:refs/remotes/origin/*')
        git('checkout', '--quiet', '--force', '--detach', given.mergedInto ?: given.commit)
        if (given.mergedInto) git('merge', '--quiet', '--no-edit', given.commit)
        variables.GIT_COMMIT = git('rev-parse', 'HEAD')
    }
    private String git(String... arguments) {
        Process process = new ProcessBuilder(['git', *arguments]).directory(workspace).redirectErrorStream(true).start()
        String output = process.inputStream.text.trim()
        if (process.waitFor()) throw new Failed("git ${arguments.join(' ')}: $output")
        return output
    }
}

int run(File file, Map given) {
    String text = file.getText('UTF-8')
    Build build = new Build(given)
    int pipelines = 0
    Binding binding = new Binding()
    binding.setVariable('pipeline', { Closure body ->
        pipelines++
        build.run(new Options(build: build).within(body, new Pipeline()))
        return new Ended(section: 'pipeline')
    })
    try {
        text.eachLine { String line, int index ->
            // What is left without strings and comments.
            String code = line.replaceAll(/'(\\.|[^'\\])*'|"(\\.|[^"\\])*"/, '').replaceAll(/\/\/.*/, '')
            if (code.contains(';')) throw new Refused("line ${index + 1}: each statement has a line of its own")
        }
        new GroovyShell(this.class.classLoader, binding).parse(text, 'Jenkinsfile').run()
        if (pipelines != 1) throw new Refused('a file holds one pipeline')
    } catch (Refused | MissingPropertyException | MissingMethodException | MultipleCompilationErrorsException refused) {
        println("refused: ${file.name}: ${refused.message}")
        return 2
    }
    build.finish()
    println("Finished: ${build.result}")
    return build.result == 'SUCCESS' ? 0 : 1
}

List<Integer> codes = args.toList().collate(2).collect { run(new File(it[0]), new JsonSlurper().parse(new File(it[1])) as Map) }
System.exit(codes.max())
